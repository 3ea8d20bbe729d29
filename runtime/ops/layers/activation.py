"""Activation functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from pimc.runtime.ops.registry import op, register

_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Softsign": functional.softsign,
    "Mish": functional.mish,
}
for _name, _function in _PLAIN.items():
    register(_name, _function)


@op("LeakyRelu")
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """``x``, times ``alpha`` below zero."""
    return functional.leaky_relu(x, alpha)


@op("PRelu", since=7)
def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """``x``, times ``slope`` (broadcast to ``x``) below zero."""
    return torch.where(x < 0, slope * x, x)


@op("ThresholdedRelu", since=10)
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """``x`` above ``alpha``, else 0."""
    return torch.where(x > alpha, x, torch.zeros_like(x))


@op("Elu")
def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """``alpha (exp(x) - 1)`` below zero."""
    return functional.elu(x, alpha)


@op("Selu")
def selu(
    x: Tensor, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875
) -> Tensor:
    """``gamma`` times Elu."""
    return gamma * functional.elu(x, alpha)


@op("Celu", since=12)
def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """``max(0, x) + min(0, alpha (exp(x / alpha) - 1))``."""
    return functional.celu(x, alpha)


@op("Gelu", since=20)
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """``x`` times the normal distribution function, exactly or by tanh."""
    return functional.gelu(x, approximate=approximate)


@op("Swish", since=24)
def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """``x sigmoid(alpha x)``."""
    return x * torch.sigmoid(alpha * x)


@op("HardSigmoid")
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """``alpha x + beta`` limited to [0, 1]."""
    return torch.clamp(alpha * x + beta, 0.0, 1.0)


@op("HardSwish", since=14)
def hard_swish(x: Tensor) -> Tensor:
    """``x`` times HardSigmoid with slope 1/6."""
    return x * torch.clamp(x / 6.0 + 0.5, 0.0, 1.0)


@op("Softplus")
def softplus(x: Tensor) -> Tensor:
    """``log(1 + exp(x))`` without overflow."""
    return torch.logaddexp(x, torch.zeros_like(x))


@op("Shrink", since=9)
def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """Zero inside [-lambd, lambd], outside moved toward zero by ``bias``."""
    zero = torch.zeros_like(x)
    return torch.where(x > lambd, x - bias, torch.where(x < -lambd, x + bias, zero))


def _over_rows(function: Callable[[Tensor, int], Tensor], x: Tensor, axis: int) -> Tensor:
    """Before opset 13: ``function`` over all axes from ``axis`` on, taken as one."""
    axis = axis % x.ndim if x.ndim else 0
    return function(x.flatten(axis), -1).reshape(x.shape)


def _hardmax(x: Tensor, axis: int) -> Tensor:
    best = x.argmax(dim=axis, keepdim=True)
    return torch.zeros_like(x).scatter(axis, best, 1.0)


def _softmax(x: Tensor, axis: int) -> Tensor:
    return torch.softmax(x, dim=axis)


def _log_softmax(x: Tensor, axis: int) -> Tensor:
    return torch.log_softmax(x, dim=axis)


def _enter_row_function(
    name: str, function: Callable[[Tensor, int], Tensor], gradient: bool = True
) -> None:
    def since_13(x: Tensor, *, axis: int = -1) -> Tensor:
        return function(x, axis)

    def since_1(x: Tensor, *, axis: int = 1) -> Tensor:
        return _over_rows(function, x, axis)

    register(name, since_13, since=13, gradient=gradient)
    register(name, since_1, since=1, gradient=gradient)


_enter_row_function("Softmax", _softmax)
_enter_row_function("LogSoftmax", _log_softmax)
_enter_row_function("Hardmax", _hardmax, gradient=False)
