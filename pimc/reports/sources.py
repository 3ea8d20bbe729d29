"""What a report is asked for: files, folders and objects, told apart by what they hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pimc.errors import UsageError
from pimc.files.kinds.table import kind_of
from pimc.files.writing.atomic import sha256_file
from pimc.image.image import SUFFIX, Image

if TYPE_CHECKING:
    from pimc.passes.recover.recovery import Recovery
    from pimc.runtime.die.die import Die
    from pimc.studies.sweep import Swept

    #: What is in memory and can be shown.
    Thing: TypeAlias = Image | Die | Recovery | Swept
    #: What a report can be of.
    What: TypeAlias = str | Path | Thing

__all__ = ["MOST_OF_A_KIND", "Source", "source_of", "sources_of", "told_of_recovery"]

#: Files of a kind that a page shows of a folder; the tables have all dies.
MOST_OF_A_KIND = 6


@dataclass(frozen=True)
class Source:
    """One thing that a page is of.

    Attributes:
        kind: ``image``, ``die``, ``recovery``, ``sweep``, ``recoveries``, ``comparison`` or
            ``evaluation``.
        name: what it is called on the page.
        content: what was read.
        sha256: of the file, where there is one that does not tell its own.
        path: of the file, where there is one.
    """

    kind: str
    name: str
    content: Any = field(repr=False)
    sha256: str = ""
    path: Path | None = field(default=None, kw_only=True)


def sources_of(what: Sequence[What]) -> tuple[list[Source], list[str]]:
    """What a page is of, in the order of the page, and notes on what was left out.

    Raises:
        UsageError: nothing was given, a folder holds nothing of pimc's, or what is given is
            nothing that a report shows.
        PimcError: a file is damaged.
    """
    found: list[Source] = []
    notes: list[str] = []
    for one in what:
        if isinstance(one, str | Path):
            path = Path(one)
            read, left = _folder(path) if path.is_dir() else (_file(path), [])
            found += read
            notes += left
        else:
            found.append(source_of(one))
    if not found:
        raise UsageError("nothing was named", hint="name an image, a die, a recovery or a table")
    # A file that is named twice, or lies beside a report and is named as well, is shown once.
    unique: dict[object, Source] = {}
    for source in found:
        unique.setdefault(source.path or id(source.content), source)
    return list(unique.values()), notes


def told_of_recovery(recovery: Recovery) -> dict[str, Any]:
    """What a report file tells of a recovery that is in memory."""
    from pimc.passes.recover.write.residual import residual_weights

    note, found = recovery.image.recovery, recovery.findings
    return {
        "die": None if note is None else note.die,
        "strategy": recovery.strategy,
        "sha256": recovery.image.sha256,
        "accuracy_before": None,
        "accuracy_after": None,
        "cells_total": int(recovery.image.used.sum()),
        "cells_rewritten": recovery.cells_rewritten,
        "residual_weights": residual_weights(recovery.image),
        "rounds": None if note is None else note.rounds,
        "measured_on_chip": recovery.measured,
        "record": recovery.record,
        "seconds": recovery.seconds,
        "basis": asdict(recovery.basis),
        "verdict": asdict(recovery.verdict),
        "floor": asdict(recovery.floor),
        "findings": found
        and {"faults": found.counts(), "away_us": found.away_us, "known_us": found.known_us},
        "stages": [vars(stage) for stage in recovery.stages],
    }


def _file(path: Path) -> list[Source]:
    """The sources of a file; of a recovery's report also the images that lie beside it."""
    kind = kind_of(path)
    if kind is None and not path.exists():
        raise UsageError("no such file", where=str(path))
    reader = None if kind is None else _READERS.get(kind.key)
    if reader is None:
        called = "nothing that a report shows" if kind is None else kind.name
        raise UsageError(
            f"this is {called}",
            where=str(path),
            hint="a report is of images, dies, recoveries (.report.json), the tables of sweeps and "
            "recoveries, what `pimc eval --json` told, or a folder of them",
        )
    return reader(path)


def _folder(path: Path) -> tuple[list[Source], list[str]]:
    by_kind: dict[str, list[Path]] = {key: [] for key in _READERS}
    for entry in sorted(path.iterdir()):
        kind = kind_of(entry) if entry.is_file() and not entry.name.startswith(".") else None
        if kind is not None and kind.key in by_kind:
            by_kind[kind.key].append(entry)
    if not any(by_kind.values()):
        raise UsageError(
            "the folder holds nothing that a report shows",
            where=str(path),
            hint="name a folder with images, dies, reports or tables of pimc",
        )
    found, notes = [], []
    for key, paths in by_kind.items():
        for one in paths[:MOST_OF_A_KIND]:
            found += _READERS[key](one, beside=False)
        if len(paths) > MOST_OF_A_KIND:
            notes.append(
                f"Of {len(paths):,} files of the kind “{key}” the first {MOST_OF_A_KIND} are shown."
            )
    return found, notes


def source_of(given: Any) -> Source:
    """What is in memory.

    Raises:
        UsageError: it is nothing that a report shows.
    """
    from pimc.passes.recover.recovery import Recovery
    from pimc.runtime.die.die import Die
    from pimc.studies.sweep import Swept

    if isinstance(given, Image):
        return Source("image", given.model.name, given)
    if isinstance(given, Die):
        return Source("die", given.name, given)
    if isinstance(given, Recovery):
        told = told_of_recovery(given)
        return Source("recovery", f"{told['strategy']} for {told['die']}", told)
    if isinstance(given, Swept):
        return Source("sweep", "sweep", given.rows)
    raise UsageError(
        f"a report shows no {type(given).__name__}",
        hint="give images, dies, recoveries, sweeps or their files",
    )


def _image(path: Path, beside: bool = True) -> list[Source]:
    return [Source("image", path.name, Image.load(path), path=path.resolve())]


def _die(path: Path, beside: bool = True) -> list[Source]:
    from pimc.runtime.die.die import Die

    return [Source("die", path.name, Die.load(path), sha256_file(path), path=path.resolve())]


def _report(path: Path, beside: bool = True) -> list[Source]:
    told = _json(path)
    source = Source("recovery", path.name, told, sha256_file(path), path=path.resolve())
    return [source, *(_images_of(path, told) if beside else ())]


def _images_of(path: Path, told: Mapping[str, Any]) -> Iterator[Source]:
    """The next image beside a report, and the image before it, where they are there."""
    after = path.with_name(path.name.removesuffix(".report.json") + SUFFIX)
    if not after.is_file():
        return
    image = Image.load(after)
    if image.sha256 != told.get("sha256"):
        return
    note = image.recovery
    for one in sorted(path.parent.glob(f"*{SUFFIX}")):
        if note is not None and one != after and _identity(one) == note.parent:
            yield Source("image", one.name, Image.load(one), path=one.resolve())
            break
    yield Source("image", after.name, image, path=after.resolve())


def _identity(path: Path) -> str | None:
    """The identity that an image's manifest states; None of a file that is none."""
    from pimc.files.kinds.marks import File

    try:
        manifest = json.loads(File(path).safetensors["__metadata__"]["manifest"])
        return str(manifest["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sweep(path: Path, beside: bool = True) -> list[Source]:
    from pimc.studies.sweep_table import read_rows

    return _rows("sweep", path, read_rows)


def _recoveries(path: Path, beside: bool = True) -> list[Source]:
    from pimc.studies.recoveries.columns import read_rows

    return _rows("recoveries", path, read_rows)


def _rows(kind: str, path: Path, read: Callable[[Path], list[Any]]) -> list[Source]:
    rows = read(path)
    if not rows:
        raise UsageError("the table has no rows", where=str(path))
    return [Source(kind, path.name, rows, sha256_file(path), path=path.resolve())]


def _told(kind: str) -> Callable[..., list[Source]]:
    def read(path: Path, beside: bool = True) -> list[Source]:
        return [Source(kind, path.name, _json(path), sha256_file(path), path=path.resolve())]

    return read


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise UsageError(f"cannot be read: {cause}", where=str(path)) from cause
    if not isinstance(found, dict):
        raise UsageError("holds no JSON object", where=str(path))
    return found


#: How files of each kind are read, in the order in which a page shows those of a folder.
_READERS: Mapping[str, Callable[..., list[Source]]] = {
    "recoveries": _recoveries,
    "report": _report,
    "comparison": _told("comparison"),
    "evaluation": _told("evaluation"),
    "sweep": _sweep,
    "image": _image,
    "die": _die,
}
