"""Readers of stored data: which file is meant, and what it holds, unconverted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pimc.data.arrays import idx_array, idx_rows, npy_array, npz_arrays, npz_names, npz_targets
from pimc.data.images import image_rows, images_in, visible
from pimc.data.inputs import Input
from pimc.data.layout import Preprocess
from pimc.data.rows import Rows
from pimc.data.sequences.states import hint_for
from pimc.errors import DataError, PimcError
from pimc.files.strict import did_you_mean

__all__ = ["Source", "Stored", "find_source", "read_source"]

_FORMATS = ".npz, .npy, IDX .gz, a folder of images with a sub-folder a class, or MODULE:FUNCTION"
_CAPTURE_SUFFIX = ".pimccap"
_ROLE_FILES: Mapping[str, tuple[str, ...]] = {
    "calib": ("calib.npz", "train-images-idx3-ubyte.gz"),
    "test": ("test.npz", "t10k-images-idx3-ubyte.gz"),
}
#: Folders of image folders.
_ROLE_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "calib": ("calib", "train"),
    "test": ("test", "val", "validation"),
}
_IDX_LABELS = re.compile(r"labels([-.])idx1")
_IDX_IMAGES = re.compile(r"images([-.])idx3")


@dataclass(frozen=True)
class Source:
    """What a DATA argument means: a data file, or the root of an image folder.

    Attributes:
        folder: where its ``data.toml`` lies, if there is one.
    """

    path: Path
    folder: Path
    captures: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class Stored:
    """Values as stored.

    Attributes:
        values: by the name of the input; ``x`` where no network says how it is called.
        targets: labels under ``y``, and whatever else there is a value a sample of.
        layout: where the format itself fixes it.
        classes: names of the classes, where the format itself has them.
    """

    values: Mapping[str, Rows]
    targets: Mapping[str, Rows] = field(default_factory=dict)
    layout: str | None = None
    classes: tuple[str, ...] = ()


def find_source(path: Path, role: str) -> Source:
    """The data file or image folder that ``path`` means.

    Raises:
        DataError: nothing there, an unknown extension, or a folder in which no file or more
            than one could be meant (they are listed).
    """
    try:
        if path.is_dir():
            return _in_folder(path, role)
        if path.exists() and not path.is_file():
            raise DataError("is no regular file", str(path), f"give {_FORMATS}")
        if not path.exists():
            near = did_you_mean(path.name, visible(path.parent)) if path.parent.is_dir() else ""
            raise DataError(f"no such file or folder{near}", str(path), f"give {_FORMATS}")
    except OSError as cause:
        raise DataError(f"cannot be read: {cause.strerror or cause}", str(path)) from cause
    if path.suffix not in _READERS:
        hint = f"give {_FORMATS}"
        if path.suffix == _CAPTURE_SUFFIX:
            hint = "give the folder that holds it together with its calibration data"
        raise DataError(f"unknown extension {path.suffix!r}", str(path), hint)
    return Source(path, path.parent)


def read_source(
    source: Source, how: Mapping[str, Preprocess], inputs: Sequence[Input] = ()
) -> Stored:
    """Read what a source holds.

    Args:
        source: from :func:`find_source`.
        how: by the name of the input (``x`` where none is known), to what size images are brought.
        inputs: of the network, where it is known.

    Raises:
        DataError: the file is broken, truncated, or lacks what is needed.
    """
    if source.path.is_dir():
        return _read_images(source.path, how, inputs)
    try:
        return _READERS[source.path.suffix](source.path, inputs)
    except PimcError:
        raise
    except Exception as cause:  # whatever a parser of bytes that others wrote ends with
        text = str(cause)
        pickled = "pickle" in text.lower() or "Object arrays" in text
        raise DataError(
            "holds Python objects" if pickled else f"cannot be read: {text or 'it is truncated'}",
            str(source.path),
            "save plain number arrays" if pickled else "the file may be broken: make it again",
        ) from cause


def _in_folder(folder: Path, role: str) -> Source:
    names = visible(folder)
    files = [
        name
        for name in names
        if Path(name).suffix in _READERS
        and not _IDX_LABELS.search(name)
        and (folder / name).is_file()
    ]
    captures = tuple(folder / name for name in names if name.endswith(_CAPTURE_SUFFIX))
    classes = _class_folders(folder)
    for preferred in _ROLE_FILES[role]:
        if preferred in files:
            return Source(folder / preferred, folder, captures)
    # A file named for the other purpose is never taken silently: calibrating on test data
    # would spoil every accuracy reported on it.
    others = {name for key, known in _ROLE_FILES.items() if key != role for name in known}
    candidates = [name for name in files if name not in others]
    if len(candidates) == 1 and not classes:
        return Source(folder / candidates[0], folder, captures)
    if classes and not candidates:
        return Source(folder, folder, captures)
    pictures = None if candidates else _pictures_for(folder, role)
    if pictures is not None:
        settings = pictures if (pictures / "data.toml").exists() else folder
        return Source(pictures, settings, captures)
    found = [*files, *(f"{name}/" for name in classes[:5])]
    raise DataError(
        f"holds no {role} data"
        if not candidates
        else f"more than one could be the {role} data: {', '.join(found)}",
        str(folder),
        f"name the file itself ({', '.join(found)})" if found else f"put in {_FORMATS}",
    )


def _class_folders(folder: Path) -> list[str]:
    """The sub-folders in which images lie."""
    return [name for name in visible(folder) if images_in(folder / name)]


def _pictures_for(folder: Path, role: str) -> Path | None:
    """The image folder inside that is named for this purpose, or a folder of images alone."""
    for name in _ROLE_FOLDERS[role]:
        inside = folder / name
        if inside.is_dir() and _class_folders(inside):
            return inside
    return folder if images_in(folder) else None


def _read_npz(path: Path, inputs: Sequence[Input]) -> Stored:
    held = npz_names(path)
    wanted = {one.name: one.name for one in inputs} or {"x": "x"}
    if len(wanted) == 1 and not wanted.keys() & set(held):
        wanted = dict.fromkeys(wanted, "x")
    missing = [name for name in wanted.values() if name not in held]
    if missing:
        message = f"holds no array {', '.join(missing)} (it holds {', '.join(held) or 'nothing'})"
        hint = hint_for(missing, [one.name for one in inputs])
        raise DataError(message, str(path), hint)
    stored = npz_arrays(path, [*wanted.values(), "y"])
    values = {name: stored[key] for name, key in wanted.items()}
    labels = {} if "y" in wanted.values() or "y" not in stored else {"y": stored["y"]}
    rest = [name for name in held if name not in (*wanted.values(), "y")]
    count = max((rows.shape[0] for rows in values.values() if rows.shape), default=0)
    return Stored(values, labels | npz_targets(path, rest, count))


def _read_npy(path: Path, inputs: Sequence[Input]) -> Stored:
    return Stored({_only_of(inputs, path): npy_array(path)})


def _read_idx(path: Path, inputs: Sequence[Input]) -> Stored:
    name, x = _only_of(inputs, path), idx_rows(path)
    if len(x.shape) < 2:
        raise DataError("holds labels, not samples", str(path), "give the images-idx3 file")
    layout = "NHW" if len(x.shape) == 3 else None
    labels = path.with_name(_IDX_IMAGES.sub(r"labels\1idx1", path.name))
    if labels == path or not labels.is_file():
        return Stored({name: x}, layout=layout)
    try:
        y = idx_array(labels)
    except Exception as cause:
        raise DataError(f"cannot be read: {cause}", str(labels), "make the file again") from cause
    return Stored({name: x}, {"y": y}, layout)


_READERS: Mapping[str, Callable[[Path, Sequence[Input]], Stored]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".gz": _read_idx,
}


def _read_images(folder: Path, how: Mapping[str, Preprocess], inputs: Sequence[Input]) -> Stored:
    """Images of a folder as uint8 (N, H, W, C); classes are the sorted sub-folder names."""
    name = _only_of(inputs, folder)
    shape = inputs[0].shape if inputs else ()
    channels = shape[1] if len(shape) == 4 else None
    if not _class_folders(folder):
        return Stored({name: image_rows(images_in(folder), how[name], channels)}, layout="NHWC")
    classes = [name for name in visible(folder) if (folder / name).is_dir()]
    files: list[Path] = []
    labels: list[int] = []
    for number, label in enumerate(classes):
        images = images_in(folder / label)
        if not images:
            raise DataError("holds no image", str(folder / label), "every sub-folder is a class")
        files += images
        labels += [number] * len(images)
    x = image_rows(files, how[name], channels)
    return Stored({name: x}, {"y": np.asarray(labels, np.int64)}, "NHWC", tuple(classes))


def _only_of(inputs: Sequence[Input], path: Path) -> str:
    """The name of the only input.

    Raises:
        DataError: the network has several.
    """
    names = [one.name for one in inputs] or ["x"]
    if len(names) > 1:
        raise DataError(
            f"holds one array, and the network has the inputs {', '.join(names)}",
            str(path),
            "give an .npz with an array for each input under its name",
        )
    return names[0]
