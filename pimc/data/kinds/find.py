"""Which file or folder a DATA argument means, and what kind of data lies there."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pimc.data.images import IMAGE_SUFFIXES, visible
from pimc.data.inputs import Input
from pimc.data.kinds.folders import class_folders, files_in
from pimc.data.kinds.sample_files import is_sample
from pimc.errors import DataError
from pimc.files.strict import did_you_mean

__all__ = ["SOUND_SUFFIXES", "Source", "find_source"]

_FORMATS = (
    ".npz, .npy, .jsonl, IDX .gz, a folder of images or .wav files with a sub-folder a class, a "
    "folder of one .npz a sample, or MODULE:FUNCTION"
)
_CAPTURE_SUFFIX = ".pimccap"
_ROLE_FILES: Mapping[str, tuple[str, ...]] = {
    "calib": ("calib.npz", "calib.jsonl", "train-images-idx3-ubyte.gz"),
    "test": ("test.npz", "test.jsonl", "t10k-images-idx3-ubyte.gz"),
}
#: Folders of many files, by what they are for.
_ROLE_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "calib": ("calib", "train"),
    "test": ("test", "val", "validation"),
}
_ROLES = {name for names in _ROLE_FOLDERS.values() for name in names}
#: How deep a folder of :data:`_ROLE_FOLDERS` may lie: ILSVRC/Data/CLS-LOC/val.
_DEPTH = 4
_IDX_LABELS = re.compile(r"labels([-.])idx1")
_SUFFIXES = (".npz", ".npy", ".gz", ".jsonl")
_BOXES = "annotations.json"
SOUND_SUFFIXES = frozenset({".wav"})
#: Kinds of folders of many files, by the files in them.
_MEDIA: Mapping[str, Collection[str]] = {"pictures": IMAGE_SUFFIXES, "sound": SOUND_SUFFIXES}


@dataclass(frozen=True)
class Source:
    """What a DATA argument means: a data file, or a folder of many.

    Attributes:
        kind: the extension of a file; else ``pictures``, ``sound``, ``samples`` or ``boxes``.
        folder: where its ``data.toml`` lies, if there is one.
    """

    path: Path
    kind: str
    folder: Path
    captures: tuple[Path, ...] = ()


def find_source(path: Path, role: str, inputs: Sequence[Input] = ()) -> Source:
    """The data file or folder that ``path`` means.

    Args:
        inputs: of the network, where it is known: they tell a file of one sample from one of many.

    Raises:
        DataError: nothing there, an unknown extension, or a folder in which no file or more
            than one could be meant (they are listed).
    """
    try:
        if path.is_dir():
            return _in_folder(path, role, inputs)
        if path.exists() and not path.is_file():
            raise DataError("is no regular file", str(path), f"give {_FORMATS}")
        if not path.exists():
            near = did_you_mean(path.name, visible(path.parent)) if path.parent.is_dir() else ""
            raise DataError(f"no such file or folder{near}", str(path), f"give {_FORMATS}")
    except OSError as cause:
        raise DataError(f"cannot be read: {cause.strerror or cause}", str(path)) from cause
    if path.suffix == ".json":
        return Source(path, "boxes", path.parent)
    if path.suffix not in _SUFFIXES:
        hint = f"give {_FORMATS}"
        if path.suffix == _CAPTURE_SUFFIX:
            hint = "give the folder that holds it together with its calibration data"
        raise DataError(f"unknown extension {path.suffix!r}", str(path), hint)
    return Source(path, path.suffix, path.parent)


def _in_folder(folder: Path, role: str, inputs: Sequence[Input]) -> Source:
    names = visible(folder)
    files = [
        name
        for name in names
        if Path(name).suffix in _SUFFIXES
        and not _IDX_LABELS.search(name)
        and (folder / name).is_file()
    ]
    captures = tuple(folder / name for name in names if name.endswith(_CAPTURE_SUFFIX))
    for preferred in _ROLE_FILES[role]:
        if preferred in files:
            return _file(folder, preferred, captures)
    if _BOXES in names:
        return Source(folder / _BOXES, "boxes", folder, captures)
    # A file named for the other purpose is never taken silently: calibrating on test data
    # would spoil every accuracy reported on it.
    others = {name for key, known in _ROLE_FILES.items() if key != role for name in known}
    candidates = [name for name in files if name not in others]
    if candidates == files and _are_samples(folder, candidates, inputs):
        return Source(folder, "samples", folder, captures)
    classes = [name for suffixes in _MEDIA.values() for name in _classes(folder, suffixes)]
    if len(candidates) == 1 and not classes:
        return _file(folder, candidates[0], captures)
    if not candidates:
        found = _many(folder, role, inputs)
        if found is not None:
            return Source(*found, _settings_of(found[0], folder), captures)
    listed = [*files, *(f"{name}/" for name in classes[:5])]
    raise DataError(
        f"holds no {role} data"
        if not candidates
        else f"more than one could be the {role} data: {', '.join(listed[:10])}",
        str(folder),
        f"name the file itself ({', '.join(listed[:10])})" if listed else f"put in {_FORMATS}",
    )


def _file(folder: Path, name: str, captures: tuple[Path, ...]) -> Source:
    return Source(folder / name, Path(name).suffix, folder, captures)


def _are_samples(folder: Path, names: Sequence[str], inputs: Sequence[Input]) -> bool:
    every = bool(names) and all(name.endswith(".npz") for name in names)
    return every and is_sample(folder / names[0], inputs)


def _many(folder: Path, role: str, inputs: Sequence[Input]) -> tuple[Path, str] | None:
    """A folder of many files with its kind: this one, or one that is named for the purpose."""
    for kind, suffixes in _MEDIA.items():
        if _classes(folder, suffixes):
            return folder, kind
    inside = _named_for(folder, role, inputs)
    if inside is not None:
        return inside
    for kind, suffixes in _MEDIA.items():
        if len(_classes(folder, suffixes, deep=True)) > 1 or files_in(folder, suffixes):
            return folder, kind
    return None


def _classes(folder: Path, suffixes: Collection[str], *, deep: bool = False) -> list[str]:
    """The sub-folders that are classes: none where all are named for a purpose."""
    found = class_folders(folder, suffixes, deep=deep)
    return [] if set(found) <= _ROLES else found


def _named_for(folder: Path, role: str, inputs: Sequence[Input]) -> tuple[Path, str] | None:
    """The folder that is named for this purpose and lies nearest; those with classes come first.

    Raises:
        DataError: several lie as near.
    """
    level = [folder]
    for _ in range(_DEPTH):
        for labelled in (True, False):
            for name in _ROLE_FOLDERS[role]:
                named = [inside / name for inside in level if (inside / name).is_dir()]
                kinds = [
                    (inside, kind) for inside in named if (kind := _kind(inside, inputs, labelled))
                ]
                if len(kinds) > 1:
                    told = ", ".join(str(inside.relative_to(folder)) for inside, _ in kinds)
                    message = f"more than one could be the {role} data: {told}"
                    raise DataError(message, str(folder), "name it itself")
                if kinds:
                    inside, kind = kinds[0]
                    return (inside / _BOXES if kind == "boxes" else inside), kind
        inner = (one for inside in level for one in _folders(inside))
        level = [one for one in inner if one.name not in _ROLES]
    return None


def _folders(folder: Path) -> list[Path]:
    """Sub-folders, sorted; none where they may not be looked at."""
    try:
        with os.scandir(folder) as entries:
            found = [one.name for one in entries if not one.name.startswith(".") and one.is_dir()]
    except OSError:
        return []
    return [folder / name for name in sorted(found)]


def _kind(folder: Path, inputs: Sequence[Input], labelled: bool) -> str | None:
    """Of what many files lie in a folder; None where there are none.

    Args:
        labelled: whether files side by side, of no classes, count for nothing.
    """
    if (folder / _BOXES).is_file():
        return "boxes"
    samples = files_in(folder, {".npz"})
    if samples and is_sample(samples[0], inputs):
        return "samples"
    found = class_folders if labelled else files_in
    return next((k for k, suffixes in _MEDIA.items() if found(folder, suffixes, deep=True)), None)


def _settings_of(found: Path, folder: Path) -> Path:
    """The folder of the nearest ``data.toml`` from what was found up to the folder given."""
    places = [found, *found.parents]
    between = places[: places.index(folder) + 1]
    return next((place for place in between if (place / "data.toml").is_file()), folder)
