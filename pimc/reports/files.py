"""What a report is asked for as files and folders, told apart by what they hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimc.errors import PimcError, UsageError
from pimc.files.kinds.table import kind_of
from pimc.files.writing.atomic import sha256_file
from pimc.image.image import SUFFIX, Image
from pimc.project.lines import lines_of
from pimc.reports.sources import Source, source_of

if TYPE_CHECKING:
    from pimc.reports.sources import What

__all__ = ["MOST_OF_A_KIND", "latest_recovery", "sources_of"]

#: Files of a kind that a page shows of a folder; the tables have all dies.
MOST_OF_A_KIND = 6
#: How the report of a recovery is called, beside its next image.
_REPORT = ".report.json"
#: Where reports tell the command line.
_LINE = "command_line"
#: Suffixes of what tells of recoveries.
_OF_RECOVERIES = (".json", ".csv", ".parquet")


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


def latest_recovery(image: Path) -> Path | None:
    """The newest report or table of recoveries of an image, or of one that came of it.

    It is looked for in the image's folder. None where there is none.
    """
    if not image.is_file():
        return None
    parents = {
        told.get("sha256"): (told.get("recovery") or {}).get("parent")
        for told in map(_manifest, image.parent.glob(f"*{SUFFIX}"))
    }
    start, found = _manifest(image).get("sha256"), []
    for path in image.parent.iterdir():
        kind = kind_of(path) if path.suffix in _OF_RECOVERIES and path.is_file() else None
        began = None
        if kind is not None and kind.key == "report":
            began = parents.get(_json(path).get("sha256"))
        elif kind is not None and kind.key == "recoveries":
            began = _parent_in(path)
        if _came_of(start, began, parents):
            found.append(path)
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)


def _parent_in(table: Path) -> str | None:
    """The image whose dies a table is of; None where the table cannot be read."""
    from pimc.studies.recoveries.columns import read_rows

    try:
        return next((row["parent_sha256"] for row in read_rows(table)), None)
    except PimcError:
        return None


def _came_of(start: str | None, began: str | None, parents: Mapping[Any, Any]) -> bool:
    """Whether an image is another one, or was recovered from it, step by step."""
    for _ in range(len(parents) + 1):  # whatever files say of each other, it ends
        if began in (start, None):
            break
        began = parents.get(began)
    return began is not None and began == start


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


def _image(path: Path, beside: bool = True) -> list[Source]:
    return [_image_in(path, Image.load(path))]


def _image_in(path: Path, image: Image) -> Source:
    told = _beside(path) if image.recovery is not None else {}
    same = told.get("sha256") == image.sha256
    return _of_file("image", path, image, told.get(_LINE) if same else None)


def _die(path: Path, beside: bool = True) -> list[Source]:
    from pimc.runtime.die.die import Die

    return [_of_file("die", path, Die.load(path), sha256=sha256_file(path))]


def _report(path: Path, beside: bool = True) -> list[Source]:
    told = _json(path)
    source = _of_file("recovery", path, told, told.get(_LINE), sha256_file(path))
    return [source, *(_images_of(path, told) if beside else ())]


def _images_of(path: Path, told: Mapping[str, Any]) -> Iterator[Source]:
    """The next image beside a report, and the image before it, where they are there."""
    after = path.with_name(path.name.removesuffix(_REPORT) + SUFFIX)
    if not after.is_file():
        return
    image = Image.load(after)
    if image.sha256 != told.get("sha256"):
        return
    note = image.recovery
    for one in sorted(path.parent.glob(f"*{SUFFIX}")):
        if note is not None and one != after and _manifest(one).get("sha256") == note.parent:
            yield _image_in(one, Image.load(one))
            break
    yield _image_in(after, image)


def _manifest(path: Path) -> dict[str, Any]:
    """The manifest of an image, without the rest of it; empty of a file that is none."""
    from pimc.files.kinds.marks import File

    try:
        manifest = json.loads(File(path).safetensors["__metadata__"]["manifest"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


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
    # Each die of a table of recoveries has a report, which tells the line.
    reports = (
        (row, _beside(path.with_name(Path(row["output"]).name)))
        for row in rows
        if row.get("output")
    )
    same = (told for row, told in reports if told.get("sha256") == row.get("image_sha256"))
    return [_of_file(kind, path, rows, next(same, {}).get(_LINE), sha256_file(path))]


def _told(kind: str) -> Callable[..., list[Source]]:
    def read(path: Path, beside: bool = True) -> list[Source]:
        told = _json(path)
        return [_of_file(kind, path, told, told.get(_LINE), sha256_file(path))]

    return read


def _of_file(kind: str, path: Path, content: Any, line: Any = None, sha256: str = "") -> Source:
    """The source of a file.

    Args:
        line: the command line that the file or its report tells; a project's records, which know
            of what was before, come first.
    """
    lines = lines_of(path) or ((line,) if isinstance(line, str) else ())
    return Source(kind, path.name, content, sha256, path=path.resolve(), lines=lines)


def _beside(path: Path) -> dict[str, Any]:
    """The report that lies beside an image; empty where there is none that can be read."""
    try:
        return _json(path.with_suffix(_REPORT))
    except UsageError:
        return {}


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
