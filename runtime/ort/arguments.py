"""What is given for an input as the array that a network takes, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.errors import DataError

__all__ = ["fitting"]

#: What ONNX calls types otherwise than NumPy, which has no bfloat16: its values are float32 here.
_TYPES = {"float": "float32", "double": "float64", "bfloat16": "float32"}


def fitting(
    given: Any, name: str, shape: Sequence[int | str | None], kind: str
) -> npt.NDArray[Any]:
    """``given`` as an array, if it has the shape and type of an input.

    Args:
        name, shape, kind: of the input; ``kind`` as ONNX Runtime has it, ``tensor(float)``.

    Raises:
        DataError: NumPy makes no array of it, or one of another shape or type.
    """
    wanted, where = _dtype(kind), f"input {name}"
    value = given if isinstance(given, np.ndarray) else _array(given, wanted, where)
    fits = len(value.shape) == len(shape) and all(
        not isinstance(want, int) or want == have
        for want, have in zip(shape, value.shape, strict=True)
    )
    if not fits:
        raise DataError(
            f"shape {list(value.shape)} does not fit {list(shape)}",
            where=where,
            hint="give data of the model's input shape",
        )
    if wanted == np.int64 and value.dtype == np.float32 and (value == np.rint(value)).all():
        value = value.astype(np.int64)  # token numbers from a data file
    if wanted is not None and value.dtype != wanted:
        raise DataError(
            f"type {value.dtype} is not {wanted.name}",
            where=where,
            hint=f"convert it with .astype({wanted.name!r})",
        )
    # Writeable, because torch does not take over what is not: a mapped file, a received buffer.
    return np.require(value, requirements=["C", "W"])


def _dtype(kind: str) -> np.dtype[Any] | None:
    """The type of numbers; None of what is none."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    try:
        found = np.dtype(_TYPES.get(name, name))
    except TypeError:
        return None
    return found if found.kind in "biuf" else None


def _array(given: Any, wanted: np.dtype[Any] | None, where: str) -> npt.NDArray[Any]:
    """What NumPy makes of lists and the like, whose numbers have no type of their own."""
    try:
        value = np.asarray(given)
    except Exception as cause:  # lists of several lengths, tensors with gradients, and so on
        raise DataError(f"is no array: {cause}", where, "give an array") from cause
    if wanted is None or value.dtype.kind not in "biuf":
        return value
    with np.errstate(all="ignore"):
        found = value.astype(wanted)
    # Nothing is rounded but to the reals that the network computes with.
    return found if wanted.kind == "f" or (found == value).all() else value
