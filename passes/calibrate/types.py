"""Types of the numbers that a network computes with here: ONNX's float32 is float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

__all__ = ["known_type", "number_type"]

_TYPES: dict[int, type[np.generic]] = {
    int(ir.DataType.FLOAT): np.float64,
    int(ir.DataType.DOUBLE): np.float64,
    int(ir.DataType.INT64): np.int64,
    int(ir.DataType.INT32): np.int32,
    int(ir.DataType.BOOL): np.bool_,
}


def known_type(dtype: int | None) -> bool:
    """Whether values of an ONNX type are computed with here; of unknown type they may be."""
    return dtype is None or int(dtype) in _TYPES or int(dtype) == int(ir.DataType.UNDEFINED)


def number_type(dtype: int) -> type[np.generic]:
    """NumPy's type for values of an ONNX type.

    Raises:
        KeyError: of a type that is not known here.
    """
    return _TYPES[int(dtype)]


def as_number(array: Any) -> np.ndarray[Any, Any]:
    """An array of a type that is computed with: real numbers in float64."""
    values = np.asarray(array)
    return values.astype(np.float64) if values.dtype == np.float32 else values
