"""Arithmetic, comparison and logic, element by element with ONNX broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from pimc.runtime.ops.registry import NotNative, op, register

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "BitwiseNot": torch.bitwise_not,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Log": torch.log,
    "Neg": torch.neg,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,  # half to even, as ONNX asks
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
}
_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
}
_TRUTH: dict[str, Callable[..., Tensor]] = {
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
    "Not": torch.logical_not,
    "IsNaN": torch.isnan,
}

for _name, _unary in _UNARY.items():
    register(_name, _unary)
for _name, _binary in _BINARY.items():
    register(_name, _binary, since=7)
for _name, _truth in _TRUTH.items():
    register(_name, _truth, since=1 if _name == "Not" else 7, gradient=False)


@op("Sign")
def sign(x: Tensor) -> Tensor:
    """−1, 0 or 1; NaN stays NaN."""
    return torch.where(x.isnan(), x, x.sign())


@op("Div", since=7)
def div(a: Tensor, b: Tensor) -> Tensor:
    """Quotient; integers are truncated toward zero."""
    if a.is_floating_point():
        return torch.div(a, b)
    return torch.div(a, b, rounding_mode="trunc")


@op("Mod", since=10)
def mod(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    """Remainder with the sign of ``b``, with ``fmod`` that of ``a``."""
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


@op("Pow", since=7)
def power(a: Tensor, b: Tensor) -> Tensor:
    """Power in the type of the base."""
    return torch.pow(a, b).to(a.dtype)


@op("Max", since=8)
def maximum(*values: Tensor) -> Tensor:
    """Elementwise maximum of any number of tensors."""
    return reduce(torch.maximum, values)


@op("Min", since=8)
def minimum(*values: Tensor) -> Tensor:
    """Elementwise minimum of any number of tensors."""
    return reduce(torch.minimum, values)


@op("Sum", since=8)
def add_all(*values: Tensor) -> Tensor:
    """Elementwise sum of any number of tensors."""
    return reduce(torch.add, values)


@op("Mean", since=8)
def mean_all(*values: Tensor) -> Tensor:
    """Elementwise mean of any number of tensors."""
    return reduce(torch.add, values) / len(values)


@op("Clip", since=11)
def clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Values limited to [low, high]."""
    if low is None and high is None:
        return x
    return torch.clamp(x, min=low, max=high)


@op("Clip", since=6)
def clip_6(x: Tensor, *, min: float = -3.4028235e38, max: float = 3.4028235e38) -> Tensor:
    """Limits as attributes, before opset 11."""
    return torch.clamp(x, min=min, max=max)


@op("Where", since=9)
def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``a`` where the condition holds, else ``b``."""
    return torch.where(condition, a, b)


@op("IsInf", since=10, gradient=False)
def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """Whether a value is one of the asked infinities."""
    found = torch.zeros_like(x, dtype=torch.bool)
    if detect_negative:
        found = found | torch.isneginf(x)
    if detect_positive:
        found = found | torch.isposinf(x)
    return found


@op("BitShift", since=11, gradient=False)
def bit_shift(x: Tensor, shift: Tensor, *, direction: str) -> Tensor:
    """Logical shift of unsigned integers."""
    if x.dtype != torch.uint8:
        raise NotNative("torch shifts signed integers arithmetically")
    shifted = {"LEFT": torch.bitwise_left_shift, "RIGHT": torch.bitwise_right_shift}[direction]
    return shifted(x, shift)
