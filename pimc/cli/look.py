"""``pimc info`` and ``pimc diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.common import FILE, Report, Settings, command, explain_option, image_argument
from pimc.cli.text import engineering, facts, percent, room, table

if TYPE_CHECKING:
    from pimc.chip.design import Chip
    from pimc.image.changes import Changes

__all__ = ["LAYER_COLUMNS", "diff", "explanations", "info", "layer_rows", "summary_facts"]

LAYER_COLUMNS = (
    "layer", "op", "groups", "rows", "cols", "tiles", "arrays", "quantization", "programming",
    "energy", "latency",
)  # fmt: skip


@command("info")
@image_argument
@explain_option
def info(settings: Settings, image: Path | None, explain: bool) -> Report:
    """Look into IMAGE: layers, arrays, utilization, predicted errors, energy and latency."""
    from pimc.cli.lookup import find_image
    from pimc.image.image import Image
    from pimc.image.summary import summarize

    path = find_image(image)
    loaded = Image.load(path)
    summary = {"image": str(path)} | summarize(loaded)
    pairs = [
        ("image", f"{path}, format {summary['format_version']}, {summary['sha256'][:16]}"),
        *summary_facts(summary),
        ("teacher", "float weights included" if summary["teacher"] else "none"),
        ("recovery", _recovery(summary["recovery"])),
    ]
    layers = table(LAYER_COLUMNS, layer_rows(summary), limit=room(len(pairs) + 4))
    text = f"{layers}\n\n{facts(pairs)}"
    return Report(summary, text + explanations(summary, loaded.chip) if explain else text)


@command("diff")
@click.argument("before", type=FILE)
@click.argument("after", type=FILE)
@click.option("--exit-code", is_flag=True, help="Exit with 1 if the images differ.")
@click.option("-o", "--output", type=FILE, metavar="CSV", help="Write all cells that change.")
def diff(
    settings: Settings, before: Path, after: Path, exit_code: bool, output: Path | None
) -> Report:
    """Compare two images: cells to rewrite from BEFORE to AFTER, and digital changes."""
    from pimc.image.changes import changes
    from pimc.image.image import Image

    found = changes(Image.load(before), Image.load(after))
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
    code = 1 if exit_code and found.any else 0
    return Report(data, _changes_text(found, data), exit_code=code)


def summary_facts(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """The lines under the table of layers."""
    rows, cols = summary["array"]
    return [
        ("model", f"{summary['model']}, {_calibrated(summary['calibrated'])}"),
        (
            "chip",
            f"{summary['chip']}, {rows}x{cols}, {summary['levels']} levels, {summary['mapping']}",
        ),
        ("arrays", f"{summary['arrays_used']:,} of {summary['arrays_available']:,}"),
        ("phases", _phases(summary)),
        (
            "cells",
            f"{summary['cells_used']:,}, {percent(summary['cell_utilization'], 1)} of the arrays",
        ),
        ("read steps", f"{summary['read_steps']:,}"),
        (
            "weight error",
            f"{percent(summary['quantization_error'])} quantization, "
            f"{percent(summary['programming_error'])} programming (squared, relative)",
        ),
        ("estimate", f"{_energy(summary)}, {_latency(summary)} an inference, {_area(summary)}"),
    ]


def explanations(summary: dict[str, Any], chip: Chip) -> str:
    """How each number of the summary comes about."""
    from pimc.image.derivations import explained

    summary["explained"] = explained(summary, chip)
    return "\n\n" + facts(list(summary["explained"].items()))


def _phases(summary: dict[str, Any]) -> str:
    cost = summary["reprogramming"]
    if cost is None:
        return ""
    return (
        f"{summary['phases']}; writing all of them once, for every batch, takes "
        f"{engineering(cost['seconds'], 's')} and {engineering(cost['energy_pj'] * 1e-12, 'J')}, "
        "cell after cell"
    )


def _energy(entry: dict[str, Any]) -> str:
    energy = entry["energy_pj"]
    return engineering(None if energy is None else energy * 1e-12, "J")


def _latency(entry: dict[str, Any]) -> str:
    latency = entry["latency_ns"]
    return engineering(None if latency is None else latency * 1e-9, "s")


def _area(summary: dict[str, Any]) -> str:
    area = summary["area_um2"]
    return "area not known" if area is None else f"{area * 1e-6:.3g} mm² (arrays and converters)"


def layer_rows(summary: dict[str, Any]) -> list[tuple[object, ...]]:
    """The table of layers."""
    return [
        (
            entry["name"],
            entry["op"],
            entry["groups"],
            entry["rows"],
            entry["cols"],
            entry["tiles"],
            entry["arrays"],
            entry["quantization_error"],
            entry["programming_error"],
            _energy(entry),
            _latency(entry),
        )
        for entry in summary["layers"]
    ]


def _calibrated(calibrated: bool) -> str:
    return "calibrated" if calibrated else "not calibrated: input ranges are dynamic"


def _recovery(recovery: Any) -> str:
    if not recovery:
        return "none"
    plain = {k: v for k, v in recovery.items() if isinstance(v, str | int | float)}
    return ", ".join(f"{name} {value}" for name, value in plain.items()) or "yes"


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
