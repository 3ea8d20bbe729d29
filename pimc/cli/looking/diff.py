"""``pimc diff``: Compare two images: the cells to rewrite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimc.cli.command import Report, Settings, command
from pimc.cli.options.fields import argument, flag, option
from pimc.cli.options.values import FILE
from pimc.cli.text import room, table

if TYPE_CHECKING:
    from pimc.image.changes import Changes

__all__ = ["COMMAND", "DiffArguments", "diff"]


@dataclass(frozen=True)
class DiffArguments:
    """What ``pimc diff`` takes."""

    before: Path = argument(type=FILE)
    after: Path = argument(type=FILE)
    exit_code: bool = flag("--exit-code", help="Exit with 1 if the images differ.")
    output: Path | None = option(
        "-o", "--output", type=FILE, metavar="CSV", help="Write all cells that change."
    )


def diff(settings: Settings, arguments: DiffArguments) -> Report:
    """Compare two images: cells to rewrite from BEFORE to AFTER, and digital changes."""
    from pimc.image.changes import changes
    from pimc.image.image import Image

    found = changes(Image.load(arguments.before), Image.load(arguments.after))
    output = arguments.output
    if output is not None:
        found.save_csv(output)
    data = {
        "cells_changed": len(found.array),
        "cells_to_write": int(found.rewrites.sum()),
        "arrays_changed": len(set(found.array.tolist())),
        "identical": not found.any,
        "digital": found.digital,
        "graph_changed": found.graph,
        "output": None if output is None else str(output),
    }
    code = 1 if arguments.exit_code and found.any else 0
    return Report(data, _changes_text(found, data), exit_code=code)


COMMAND = command(
    "diff", DiffArguments, diff, example="pimc diff model.pimc model.r1.pimc -o cells.csv"
)


def _changes_text(found: Changes, data: dict[str, Any]) -> str:
    if not found.any:
        return "the images are the same: no cell and nothing digital changes"
    parts = [
        f"{data['cells_changed']:,} cells in {data['arrays_changed']:,} arrays change, "
        f"{data['cells_to_write']:,} must be written"
    ]
    if len(found.array):
        limit = room(12 + len(found.digital))
        columns = (found.array, found.row, found.col, found.before, found.after)
        first = zip(*(column[:limit].tolist() for column in columns), strict=True)
        rows = [[*where, _level(old), _level(new)] for *where, old, new in first]
        header = ("array", "row", "col", "before", "after")
        parts.append(table(header, rows, limit=limit, total=len(found.array)))
    if found.digital:
        rows_of = [(name, ", ".join(what)) for name, what in found.digital.items()]
        parts.append("\n" + table(("layer", "digital changes"), rows_of, limit=room(20)))
    if found.graph:
        parts.append("\nthe digital part of the network differs")
    return "\n".join(parts)


def _level(level: int) -> int | None:
    """A level, or None for a cell that the image does not use."""
    return None if level < 0 else level
