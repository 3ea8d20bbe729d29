"""The dies that ``--die`` names: files, patterns of files, lists of them; and where they lie."""

from __future__ import annotations

import csv
import glob
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from pimc.cli.recovering.arguments import RecoverArguments

__all__ = ["checked", "expanded", "places_of"]

#: A dataclass of options.
Options = TypeVar("Options", bound="DataclassInstance")
#: What begins the name of a list.
_LIST = "@"


def checked(arguments: RecoverArguments) -> RecoverArguments:
    """The arguments with every die that they name by itself.

    Raises:
        UsageError: options that exclude each other, or are for several dies where there is one.
    """
    from pimc.errors import UsageError

    named: tuple[Path, ...] = ()
    if arguments.named:
        from pimc.runtime.door.drivers import simulates

        named = expanded(arguments.named, files=simulates(arguments.device))
    if arguments.dies is not None and named:
        raise UsageError("--die and --dies exclude each other", hint="leave one of them out")
    arguments = replace(arguments, named=named)
    if not (arguments.compare or arguments.several):
        arguments = _without_files_of_several(arguments)
    shared_out = arguments.workers.jobs > 1 or arguments.workers.cluster is not None
    of_several = ["--jobs and --cluster"] * shared_out + arguments.together.given
    if arguments.picture is not None:
        from pimc.pictures.canvas import require_picture

        require_picture(arguments.picture)
        of_several.append("--picture")
        if arguments.several and not arguments.compare and arguments.data is None:
            raise UsageError("a picture needs labelled data", "--picture", "name some with --data")
    if arguments.compare and arguments.together.given:
        raise UsageError("is not for a comparison", arguments.together.given[0], "leave it out")
    if of_several and not (arguments.compare or arguments.several):
        raise UsageError(
            "is for several dies",
            where=of_several[0],
            hint="name several with --die, or draw them with --dies N",
        )
    return arguments


def _without_files_of_several(arguments: RecoverArguments) -> RecoverArguments:
    """The arguments of a single die, without what a project's file says of several.

    The file is for every run of the command: where pictures and tables of several dies go, and who
    does the work, changes nothing about one. What a die must reach stays, as it is an exit code.
    """
    from pimc.cli.options.fields import named_by_user

    def typed(part: Options, *names: str) -> Options:
        usual = type(part)()
        unnamed = {name: getattr(usual, name) for name in names if not named_by_user(name)}
        return replace(part, **unnamed)

    return replace(
        typed(arguments, "picture"),
        together=typed(arguments.together, "table", "map"),
        workers=typed(arguments.workers, "jobs", "cluster"),
    )


def expanded(named: Sequence[Path], *, files: bool) -> tuple[Path, ...]:
    """The dies that were named, one by one.

    Args:
        files: they are files; of a laboratory's driver nothing is known of what the text means.

    Raises:
        UsageError: a list that cannot be read or names nothing, a pattern that fits no file, or a
            die that is named twice.
    """
    from pimc.files.writing.alone import require_each_once

    found = [one for text in named for one in _expanded(str(text), files=files)]
    require_each_once(found)
    return tuple(found)


def _expanded(text: str, *, files: bool) -> Iterator[Path]:
    from pimc.errors import UsageError

    if text.startswith(_LIST):
        for line in _lines(Path(text[len(_LIST) :])):
            yield from _expanded(line, files=files)
    elif files and glob.has_magic(text) and not Path(text).exists():
        fitting = sorted(glob.glob(text))
        if not fitting:
            raise UsageError("no file fits", where=text, hint="check the pattern of --die")
        yield from map(Path, fitting)
    else:
        yield Path(text)


def _lines(path: Path) -> list[str]:
    from pimc.errors import UsageError

    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as cause:
        raise UsageError(
            f"cannot be read as a list of dies: {getattr(cause, 'strerror', None) or cause}",
            where=str(path),
            hint="give a text file with a die a line",
        ) from cause
    named = [line for line in lines if line and not line.startswith("#")]
    nested = [line for line in named if line.startswith(_LIST)]
    if nested or not named:
        raise UsageError(
            f"names another list, {nested[0]}" if nested else "names no die",
            where=str(path),
            hint="give a text file with a die a line",
        )
    return named


def places_of(path: Path, sources: Sequence[str], driver: str) -> dict[str, tuple[float, float]]:
    """X and y of dies, by what names them.

    A die is called in the map as in ``--die``, by the name of its file without folder and suffix,
    or, where it is drawn, by its seed or name: ``7``, ``sim:7``.

    Raises:
        UsageError: the file is no map, or a die is not on it, or twice.
    """
    from pimc.errors import UsageError

    hint = "give a CSV file with the columns die,x,y, and one line for every die"
    found: dict[str, tuple[float, float]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream, strict=True))
        if not rows or not {"die", "x", "y"} <= rows[0].keys():
            raise ValueError("there are no columns die, x and y, or no lines")
        for row in rows:
            place = _number(row["x"]), _number(row["y"])
            if not all(map(math.isfinite, place)) or row["die"] in found:
                raise ValueError(f"{row['die']} has no place, or two")
            found[row["die"]] = place
    except (OSError, ValueError, csv.Error) as cause:
        message = f"cannot be read as a map: {getattr(cause, 'strerror', None) or cause}"
        raise UsageError(message, where=str(path), hint=hint) from cause
    places: dict[str, tuple[float, float]] = {}
    for source in sources:
        names = [source, Path(source).stem, f"{driver}:{source}"]
        known = [found[name] for name in dict.fromkeys(names) if name in found]
        if len(known) != 1:
            told = "is not on the map" if not known else "is on the map twice"
            raise UsageError(f"die {source} {told}", where=str(path), hint=hint)
        places[source] = known[0]
    return places


def _number(text: str | None) -> float:
    """NaN for what is none: a short line has None there."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
