"""Between ONNX values and torch tensors.

A value of the executor is a ``torch.Tensor`` wherever torch has the element
type, a numpy array for what torch cannot hold (strings, 4-bit types), a list
for a sequence and None for a missing optional value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import torch

_TORCH_OF: dict[int, torch.dtype] = {
    int(onnx_type): torch_type
    for onnx_type, torch_type in (
        (ir.DataType.BOOL, torch.bool),
        (ir.DataType.UINT8, torch.uint8),
        (ir.DataType.INT8, torch.int8),
        (ir.DataType.UINT16, torch.uint16),
        (ir.DataType.INT16, torch.int16),
        (ir.DataType.UINT32, torch.uint32),
        (ir.DataType.INT32, torch.int32),
        (ir.DataType.UINT64, torch.uint64),
        (ir.DataType.INT64, torch.int64),
        (ir.DataType.FLOAT16, torch.float16),
        (ir.DataType.BFLOAT16, torch.bfloat16),
        (ir.DataType.FLOAT, torch.float32),
        (ir.DataType.DOUBLE, torch.float64),
        (ir.DataType.COMPLEX64, torch.complex64),
        (ir.DataType.COMPLEX128, torch.complex128),
        (ir.DataType.FLOAT8E4M3FN, torch.float8_e4m3fn),
        (ir.DataType.FLOAT8E4M3FNUZ, torch.float8_e4m3fnuz),
        (ir.DataType.FLOAT8E5M2, torch.float8_e5m2),
        (ir.DataType.FLOAT8E5M2FNUZ, torch.float8_e5m2fnuz),
    )
}
_ONNX_OF: dict[torch.dtype, int] = {torch_type: key for key, torch_type in _TORCH_OF.items()}

# Types on which torch implements (nearly) every operator.
ARITHMETIC_DTYPES = frozenset(
    {
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
    }
)

# numpy has no such types of its own: they travel as integers of the same width.
_BITS: dict[torch.dtype, torch.dtype] = {
    torch.bfloat16: torch.int16,
    torch.float8_e4m3fn: torch.uint8,
    torch.float8_e4m3fnuz: torch.uint8,
    torch.float8_e5m2: torch.uint8,
    torch.float8_e5m2fnuz: torch.uint8,
}


def torch_dtype_of(onnx_dtype: int) -> torch.dtype | None:
    """Torch type of an ONNX element type, None when torch cannot compute with it."""
    return _TORCH_OF.get(int(onnx_dtype))


def onnx_dtype_of(value: torch.Tensor | np.ndarray[Any, Any]) -> int:
    """ONNX element type of a tensor or array."""
    if isinstance(value, torch.Tensor):
        return _ONNX_OF[value.dtype]
    if value.dtype.kind in "OUS":
        return int(ir.DataType.STRING)
    return int(ir.DataType.from_numpy(value.dtype))


def float_or(dtype: torch.dtype, standard: torch.dtype) -> torch.dtype:
    """``standard`` in place of float32, every other type as it is."""
    return standard if dtype == torch.float32 else dtype


def from_numpy(array: np.ndarray[Any, Any]) -> Any:
    """A torch tensor with the array's values, or the array where torch has no such type.

    The memory is shared where numpy allows writing to it.
    """
    if array.dtype.kind in "OUS":
        return array.astype(object)
    if array.dtype.isbuiltin == 1:  # of equal types (long, long long) torch knows one
        array = array.view(np.dtype(array.dtype.str))
    dtype = torch_dtype_of(ir.DataType.from_numpy(array.dtype))
    if dtype is None:
        return array
    if not (array.flags.writeable and array.flags.c_contiguous):
        array = array.copy(order="C")
    bits = _BITS.get(dtype)
    if bits is None:
        return torch.from_numpy(array)
    # .view() of a numpy scalar array needs at least one axis
    raw = array.reshape(-1).view(np.int16 if bits == torch.int16 else np.uint8)
    return torch.from_numpy(raw).view(dtype).reshape(array.shape)


def to_numpy(value: Any) -> np.ndarray[Any, Any]:
    """Numpy array of a tensor (``ml_dtypes`` types where numpy has none), off the graph."""
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    tensor = value.detach().cpu().contiguous()
    bits = _BITS.get(tensor.dtype)
    if bits is None:
        return tensor.numpy()
    raw = tensor.reshape(-1).view(bits).numpy()
    dtype = ir.DataType(_ONNX_OF[tensor.dtype]).numpy()
    return raw.view(dtype).reshape(tuple(tensor.shape))


def from_onnx(
    tensor: ir.TensorProtocol, device: torch.device, dtype: torch.dtype = torch.float32
) -> Any:
    """Value of an ONNX tensor on ``device``, float32 becoming ``dtype``.

    Integer tensors of at most one axis stay on the CPU: they are shapes, axes
    and indices, and reading them from an accelerator would stall it.
    """
    raw = getattr(tensor, "raw", None)
    value = raw if isinstance(raw, torch.Tensor) else from_numpy(tensor.numpy())
    if not isinstance(value, torch.Tensor):
        return value
    if value.ndim <= 1 and not value.is_floating_point():
        return value
    return value.to(device=device, dtype=float_or(value.dtype, dtype))
