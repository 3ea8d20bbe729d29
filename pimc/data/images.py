"""Image files: which there are in a folder, and their pixels as they are asked for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pimc.data import rows
from pimc.data.layout import Preprocess
from pimc.data.rows import LazyRows, Rows
from pimc.errors import DataError, PimcError
from pimc.extras import require

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

__all__ = [
    "IMAGE_SUFFIXES", "Frame", "frame_of", "image_rows", "pixels", "size_of", "visible",
]  # fmt: skip

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


def visible(folder: Path) -> list[str]:
    """Sorted names of what lies in a folder, hidden files left out."""
    return sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))


def image_rows(files: Sequence[Path], how: Preprocess, channels: int | None) -> Rows:
    """Images as uint8 (N, H, W, C); many are decoded when they are asked for.

    Args:
        how: to what size they are brought.
        channels: 1 or 3 forces them to gray or RGB; else gray where all of them are.

    Raises:
        DataError: an image cannot be read, or has another size than the first.
    """
    if channels not in (1, 3):
        channels = 1 if all(_mode(file) in ("1", "L") for file in files) else 3
    first = pixels(files[0], how, channels)
    lazy = _Images(tuple(files), how, (len(files), *first.shape))
    if lazy.shape[0] * first.nbytes > rows.HELD_BYTES:
        return lazy
    found: npt.NDArray[np.uint8] = lazy[:]
    return found


@dataclass(frozen=True, eq=False)
class _Images(LazyRows):
    """Images that are decoded when they are asked for."""

    files: tuple[Path, ...] = field(repr=False)
    how: Preprocess
    shape: tuple[int, ...]

    dtype = np.dtype(np.uint8)

    def rows(self, places: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The images at ``places``.

        Raises:
            DataError: one cannot be read, or has another size than the first.
        """
        found = np.empty((len(places), *self.shape[1:]), np.uint8)
        for number, place in enumerate(places.tolist()):
            file = self.files[place]
            one = pixels(file, self.how, self.shape[3])
            if one.shape != self.shape[1:]:
                raise DataError(
                    f"is {one.shape[0]}x{one.shape[1]}, {self.files[0].name} is "
                    f"{self.shape[1]}x{self.shape[2]}",
                    str(file),
                    "state size = [height, width] to resize all, or resize and crop",
                )
            found[number] = one
        return found


def pixels(file: Path, how: Preprocess, channels: int) -> npt.NDArray[np.uint8]:
    """One image, resized and cut as ``how`` says, (H, W, channels).

    Raises:
        DataError: it cannot be read, holds more than 8 bits a channel, or is smaller than what is
            to be cut out of it.
    """
    try:
        with _opened(file) as image:
            if image.mode[0] in "IF":
                hint = "save it with 8 bits a channel, or all images as .npz"
                raise DataError(f"has mode {image.mode}, not 8 bits a channel", str(file), hint)
            picture = _framed(image.convert("L" if channels == 1 else "RGB"), how, file)
            found = np.asarray(picture, dtype=np.uint8)
    except PimcError:
        raise
    except Exception as cause:
        raise _bad_image(file, cause) from cause
    return found.reshape(*found.shape[:2], channels)


def _framed(picture: Image, how: Preprocess, file: Path) -> Image:
    """Resized and cut out of the middle, both as torchvision does it."""
    from PIL import Image

    frame = frame_of(picture.size, how, file)
    if picture.size != frame.resized:
        method = Image.Resampling[how.interpolation.upper()]
        picture = picture.resize(frame.resized, method)
    if how.crop is None:
        return picture
    width, height = frame.size
    return picture.crop((frame.left, frame.top, frame.left + width, frame.top + height))


class Frame(NamedTuple):
    """What of a picture is shown: its (width, height) after resizing, and what is cut out."""

    resized: tuple[int, int]
    left: int
    top: int
    size: tuple[int, int]


def frame_of(size: tuple[int, int], how: Preprocess, file: Path) -> Frame:
    """How a picture of this (width, height) is resized and cut.

    Raises:
        DataError: it is smaller than what is to be cut out of it.
    """
    width, height = size
    if how.size is not None:
        height, width = how.size
    elif how.resize is not None:
        short = min(width, height)
        width, height = how.resize * width // short, how.resize * height // short
    if how.crop is None:
        return Frame((width, height), 0, 0, (width, height))
    rows, cols = how.crop
    if height < rows or width < cols:
        raise DataError(
            f"is {height}x{width}, and {rows}x{cols} is to be cut out of it",
            str(file),
            "state resize, or a smaller crop",
        )
    left, top = round((width - cols) / 2), round((height - rows) / 2)
    return Frame((width, height), left, top, (cols, rows))


def size_of(file: Path) -> tuple[int, int]:
    """(width, height) of a picture as its head says.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with _opened(file) as image:
            return image.size
    except Exception as cause:
        raise _bad_image(file, cause) from cause


@contextmanager
def _opened(file: Path) -> Iterator[ImageFile]:
    """A picture; one of a size that the library warns of is an error."""
    require("PIL", what="a folder of images")
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        picture = Image.open(file)
    with picture:
        yield picture


def _mode(file: Path) -> str:
    try:
        with _opened(file) as image:
            return image.mode
    except Exception as cause:
        raise _bad_image(file, cause) from cause


def _bad_image(file: Path, cause: BaseException) -> DataError:
    return DataError(f"is no readable image: {cause}", str(file), "mend it or take it out")
