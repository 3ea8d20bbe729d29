"""Readers of stored data: which file is meant, and what it holds, unconverted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.data.arrays import idx_array, npy_array, npz_arrays, npz_names, require_room
from pimc.errors import DataError, PimcError
from pimc.files.strict import did_you_mean

_FORMATS = ".npz, .npy, IDX .gz, or a folder of images with a sub-folder a class"
_IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
_CAPTURE_SUFFIX = ".pimccap"
_ROLE_FILES: Mapping[str, tuple[str, ...]] = {
    "calib": ("calib.npz", "train-images-idx3-ubyte.gz"),
    "test": ("test.npz", "t10k-images-idx3-ubyte.gz"),
}
_IDX_LABELS = re.compile(r"labels([-.])idx1")
_IDX_IMAGES = re.compile(r"images([-.])idx3")


@dataclass(frozen=True)
class Source:
    """What a DATA argument means: a data file, or the root of an image folder."""

    path: Path
    folder: Path
    captures: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class Stored:
    """Arrays as stored; ``layout`` where the format itself fixes it; other targets by name."""

    x: npt.NDArray[Any]
    y: npt.NDArray[Any] | None = None
    layout: str | None = None
    others: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


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
            near = did_you_mean(path.name, _names(path.parent)) if path.parent.is_dir() else ""
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
    source: Source, size: tuple[int, int] | None = None, channels: int | None = None
) -> Stored:
    """Read what a source holds.

    Args:
        source: from :func:`find_source`.
        size: (height, width) to resize the images of a folder to.
        channels: 1 or 3 forces the images of a folder to gray or RGB.

    Raises:
        DataError: the file is broken, truncated, or lacks what is needed.
    """
    if source.path.is_dir():
        return _read_images(source.path, size, channels)
    try:
        return _READERS[source.path.suffix](source.path)
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


def _names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))


def _in_folder(folder: Path, role: str) -> Source:
    names = _names(folder)
    files = [
        name
        for name in names
        if Path(name).suffix in _READERS
        and not _IDX_LABELS.search(name)
        and (folder / name).is_file()
    ]
    captures = tuple(folder / name for name in names if name.endswith(_CAPTURE_SUFFIX))
    classes = [name for name in names if _images_in(folder / name)]
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
    found = [*files, *(f"{name}/" for name in classes[:5])]
    raise DataError(
        f"holds no {role} data"
        if not candidates
        else f"more than one could be the {role} data: {', '.join(found)}",
        str(folder),
        f"name the file itself ({', '.join(found)})" if found else f"put in {_FORMATS}",
    )


def _images_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [
        folder / name
        for name in _names(folder)
        if Path(name).suffix.lower() in _IMAGE_SUFFIXES and (folder / name).is_file()
    ]


def _read_npz(path: Path) -> Stored:
    found = npz_arrays(path, npz_names(path))
    if "x" not in found:
        held = ", ".join(npz_names(path)) or "nothing"
        raise DataError(f"holds no array x (it holds {held})", str(path), "save x, and y")
    x, y = found.pop("x"), found.pop("y", None)
    others = {
        name: values
        for name, values in found.items()
        if values.shape[:1] == x.shape[:1] and values.dtype.kind in "biuf"
    }
    return Stored(x, y, others=others)


def _read_npy(path: Path) -> Stored:
    return Stored(npy_array(path))


def _read_idx(path: Path) -> Stored:
    x = idx_array(path)
    if x.ndim < 2:
        raise DataError("holds labels, not samples", str(path), "give the images-idx3 file")
    labels = path.with_name(_IDX_IMAGES.sub(r"labels\1idx1", path.name))
    if labels == path or not labels.is_file():
        return Stored(x, layout="NHW" if x.ndim == 3 else None)
    try:
        y = idx_array(labels)
    except Exception as cause:
        raise DataError(f"cannot be read: {cause}", str(labels), "make the file again") from cause
    return Stored(x, y, layout="NHW" if x.ndim == 3 else None)


_READERS: Mapping[str, Callable[[Path], Stored]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".gz": _read_idx,
}


def _read_images(folder: Path, size: tuple[int, int] | None, channels: int | None) -> Stored:
    """Images of a folder as uint8 (N, H, W, C); classes are the sorted sub-folder names."""
    classes = [name for name in _names(folder) if (folder / name).is_dir()]
    files: list[Path] = []
    labels: list[int] = []
    for number, name in enumerate(classes):
        images = _images_in(folder / name)
        if not images:
            raise DataError("holds no image", str(folder / name), "every sub-folder is a class")
        files += images
        labels += [number] * len(images)
    if channels not in (1, 3):
        channels = 1 if all(_mode(file) in ("1", "L") for file in files) else 3
    first = _pixels(files[0], size, channels)
    try:
        require_room((len(files), *first.shape), first.dtype)
    except ValueError as cause:
        hint = "state a smaller size = [height, width]"
        raise DataError("its images are larger than memory", str(folder), hint) from cause
    x = np.empty((len(files), *first.shape), dtype=np.uint8)
    for number, file in enumerate(files):
        pixels = _pixels(file, size, channels)
        if pixels.shape != first.shape:
            raise DataError(
                f"is {pixels.shape[0]}x{pixels.shape[1]}, {files[0].name} is "
                f"{first.shape[0]}x{first.shape[1]}",
                str(file),
                "state size = [height, width] to resize all",
            )
        x[number] = pixels
    return Stored(x, np.asarray(labels, dtype=np.int64), layout="NHWC")


def _mode(file: Path) -> str:
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.mode
    except PimcError:
        raise
    except Exception as cause:
        raise _bad_image(file, cause) from cause


def _pixels(file: Path, size: tuple[int, int] | None, channels: int) -> npt.NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode[0] in "IF":
                hint = "save it with 8 bits a channel, or all images as .npz"
                raise DataError(f"has mode {image.mode}, not 8 bits a channel", str(file), hint)
            picture = image.convert("L" if channels == 1 else "RGB")
            if size is not None and picture.size != (size[1], size[0]):
                picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            pixels = np.asarray(picture, dtype=np.uint8)
    except PimcError:
        raise
    except Exception as cause:
        raise _bad_image(file, cause) from cause
    return pixels.reshape(*pixels.shape[:2], channels)


def _bad_image(file: Path, cause: BaseException) -> DataError:
    return DataError(f"is no readable image: {cause}", str(file), "mend it or take it out")
