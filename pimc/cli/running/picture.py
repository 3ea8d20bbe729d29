"""A picture as the input of ``pimc run``, and the class that it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    from pimc.image.image import Image
    from pimc.runtime.interface import NodeArg

__all__ = ["class_of", "is_picture", "picture_feed"]


def is_picture(path: Path) -> bool:
    """Whether the name is that of an image file."""
    from pimc.data.images import IMAGE_SUFFIXES

    return path.suffix.lower() in IMAGE_SUFFIXES


def picture_feed(
    path: Path, image: Image, inputs: Sequence[NodeArg]
) -> dict[str, npt.NDArray[Any]]:
    """A picture as the network's input, prepared as its calibration data were.

    Raises:
        DataError: the image does not say how, its network takes no single picture, or the file
            cannot be read or does not fit.
    """
    from pimc.data.dataset import Dataset, Preprocess
    from pimc.data.images import pixels
    from pimc.errors import DataError

    if not path.is_file():
        raise DataError("no such file", str(path), "check the path")
    note = image.calibration
    if note is None:
        raise DataError(
            "the image does not say how pictures are prepared: it was compiled without --calib",
            str(path),
            "compile with calibration data, or give the input as .npy",
        )
    shape = inputs[0].shape
    if len(inputs) != 1 or len(shape) != 4 or shape[1] not in (1, 3):
        told = ", ".join(f"{arg.name} {arg.shape}" for arg in inputs)
        raise DataError(
            f"the network takes {told}, and no picture of one or three channels",
            str(path),
            "give the inputs by name in an .npz",
        )
    how = Preprocess(
        layout="NHWC",
        scale=note.scale,
        mean=note.mean,
        std=note.std,
        size=_pair(note.size),
        resize=note.resize,
        crop=_pair(note.crop),
        interpolation=note.interpolation,
    )
    found = pixels(path, how, shape[1])
    height, width = found.shape[:2]
    wanted = (shape[2], shape[3])
    if any(isinstance(w, int) and w != h for w, h in zip(wanted, (height, width), strict=True)):
        raise DataError(
            f"is {height}x{width}, and the network takes {wanted[0]}x{wanted[1]}",
            str(path),
            "state size, or resize and crop, with the calibration data and compile again: the "
            "image then says how pictures are brought to size",
        )
    return Dataset.of(found[None], preprocess=how, name=str(path)).on(inputs).feed(0, 1)


def class_of(
    outputs: Mapping[str, npt.NDArray[Any]], names: Sequence[str]
) -> dict[str, Any] | None:
    """The class with the largest value of the first output; None where it lists no classes.

    Args:
        names: of the classes, where they are known.
    """
    values = next(iter(outputs.values()))
    if values.shape[:1] != (1,) or values.size < 2 or values.size != max(values.shape):
        return None
    number = int(values.argmax())
    name = names[number] if number < len(names) else None
    return {"class": number, "name": name, "value": float(values.reshape(-1)[number])}


def _pair(values: tuple[int, ...] | None) -> tuple[int, int] | None:
    return None if values is None else (values[0], values[1])
