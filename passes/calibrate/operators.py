"""The operators of a network's digital side that NumPy computes, one function each.

These are those of networks of convolutions and matrix products; bodies of control flow, attention
and numbers stored as codes are left to torch. A function takes a node's inputs in order (``None``
where an optional one is missing) and its attributes as keywords under their names in ONNX, and
gives one value or a tuple. Opsets are 13 and newer (:mod:`pimc.passes.graph.opset`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from pimc.passes.calibrate import windows
from pimc.passes.calibrate.types import number_type

__all__ = ["OPERATORS", "Function"]

Values = npt.NDArray[Any]
Function = Callable[..., Any]


def _clip(x: Values, low: Values | None = None, high: Values | None = None) -> Values:
    if low is not None:
        x = np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _leaky_relu(x: Values, *, alpha: float = 0.01) -> Values:
    return np.where(x > 0, x, x * alpha)


def _sigmoid(x: Values) -> Values:
    # Whichever of the two does not overflow.
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


def _hard_sigmoid(x: Values, *, alpha: float = 0.2, beta: float = 0.5) -> Values:
    return np.clip(x * alpha + beta, 0.0, 1.0)


def _hard_swish(x: Values) -> Values:
    return x * np.clip(x / 6 + 0.5, 0.0, 1.0)


def _softmax(x: Values, *, axis: int = -1) -> Values:
    grown = np.exp(x - x.max(axis=axis, keepdims=True))
    shares: Values = grown / grown.sum(axis=axis, keepdims=True)
    return shares


def _divide(x: Values, y: Values) -> Values:
    if np.issubdtype(x.dtype, np.integer):  # toward zero
        whole: Values = np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))
        return whole
    return np.asarray(x / y)


def _cast(x: Values, *, to: int) -> Values:
    return x.astype(number_type(to))


def _flatten(x: Values, *, axis: int = 1) -> Values:
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(int(np.prod(x.shape[:axis])), -1 if x.size else int(np.prod(x.shape[axis:])))


def _reshape(x: Values, shape: Values, *, allowzero: int = 0) -> Values:
    sizes = [
        x.shape[place] if size == 0 and not allowzero else size
        for place, size in enumerate(shape.tolist())
    ]
    return x.reshape(sizes)


def _transpose(x: Values, *, perm: Sequence[int] | None = None) -> Values:
    return np.transpose(x, perm)


def _squeeze(x: Values, axes: Values | None = None) -> Values:
    return np.squeeze(x, None if axes is None else tuple(axes.tolist()))


def _unsqueeze(x: Values, axes: Values) -> Values:
    return np.expand_dims(x, tuple(axes.tolist()))


def _concat(*values: Values, axis: int) -> Values:
    return np.concatenate(values, axis=axis)


def _slice(
    x: Values,
    starts: Values,
    ends: Values,
    axes: Values | None = None,
    steps: Values | None = None,
) -> Values:
    cut = [slice(None)] * x.ndim
    numbers = zip(
        range(len(starts)) if axes is None else axes.tolist(),
        starts.tolist(),
        ends.tolist(),
        [1] * len(starts) if steps is None else steps.tolist(),
        strict=True,
    )
    for axis, start, end, step in numbers:
        # Backwards, an end before the first value takes that, too.
        before = step < 0 and end < -x.shape[axis]
        start = max(start, -x.shape[axis]) if step < 0 else start
        cut[axis] = slice(start, None if before else end, step)
    return x[tuple(cut)]


def _gather(x: Values, index: Values, *, axis: int = 0) -> Values:
    return np.take(x, index, axis=axis)


def _pad(
    x: Values,
    pads: Values,
    value: Values | None = None,
    axes: Values | None = None,
    *,
    mode: str = "constant",
) -> Values:
    where = range(x.ndim) if axes is None else [axis % x.ndim for axis in axes.tolist()]
    both = [(0, 0)] * x.ndim
    for place, axis in enumerate(where):
        both[axis] = (int(pads[place]), int(pads[place + len(where)]))
    # Negative pads cut off.
    x = x[tuple(slice(-min(a, 0), n + min(b, 0)) for n, (a, b) in zip(x.shape, both, strict=True))]
    both = [(max(a, 0), max(b, 0)) for a, b in both]
    if mode != "constant":
        return np.pad(x, both, mode=cast(Any, mode))  # both name edge, reflect and wrap so
    return np.pad(x, both, constant_values=0 if value is None else value.reshape(()).item())


def _shape(x: Values, *, start: int = 0, end: int | None = None) -> Values:
    return np.array(x.shape[start:end], np.int64)


def _identity(x: Values) -> Values:
    return x


def _dropout(x: Values, ratio: Values | None = None, *, seed: int | None = None) -> Values:
    return x


def _mean(
    x: Values,
    axes: Values | Sequence[int] | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Values:
    chosen = () if axes is None else tuple(int(axis) for axis in axes)
    if not chosen and noop_with_empty_axes:
        return x
    mean = np.asarray(x.mean(axis=chosen or None, keepdims=bool(keepdims)))
    return np.trunc(mean).astype(x.dtype) if np.issubdtype(x.dtype, np.integer) else mean


def _mean_13(x: Values, *, axes: Sequence[int] | None = None, keepdims: int = 1) -> Values:
    return _mean(x, axes, keepdims=keepdims)


def _gemm(
    a: Values,
    b: Values,
    c: Values | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 (the attribute's name in ONNX)
    transB: int = 0,  # noqa: N803 (likewise)
) -> Values:
    if np.issubdtype(a.dtype, np.integer):
        alpha, beta = int(alpha), int(beta)
    y: Values = alpha * ((a.T if transA else a) @ (b.T if transB else b))
    return y if c is None else y + beta * c


def _batch_norm(
    x: Values,
    scale: Values,
    bias: Values,
    mean: Values,
    variance: Values,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
) -> Values:
    wide = (-1, *(1,) * (x.ndim - 2))
    factor = scale / np.sqrt(variance + epsilon)
    shifted: Values = x * factor.reshape(wide) + (bias - mean * factor).reshape(wide)
    return shifted


#: By operator, its function and the first opset in which it is that; the newest one first.
OPERATORS: Mapping[str, tuple[tuple[Function, int], ...]] = {
    name: functions if isinstance(functions, tuple) else ((functions, 13),)
    for name, functions in {
        "Abs": np.abs,
        "Add": np.add,
        "AveragePool": windows.average_pool,
        "BatchNormalization": ((_batch_norm, 14),),
        "Cast": _cast,
        "Clip": _clip,
        "Concat": _concat,
        "Conv": windows.conv,
        "Div": _divide,
        "Dropout": _dropout,
        "Flatten": _flatten,
        "Gather": _gather,
        "Gemm": _gemm,
        "GlobalAveragePool": windows.global_average_pool,
        "GlobalMaxPool": windows.global_max_pool,
        "HardSigmoid": _hard_sigmoid,
        "HardSwish": ((_hard_swish, 14),),
        "Identity": _identity,
        "LeakyRelu": _leaky_relu,
        "MatMul": np.matmul,
        "MaxPool": windows.max_pool,
        "Mul": np.multiply,
        "Neg": np.negative,
        "Pad": _pad,
        "ReduceMean": ((_mean, 18), (_mean_13, 13)),
        "Relu": lambda x: np.maximum(x, 0),
        "Reshape": _reshape,
        "Shape": _shape,
        "Sigmoid": _sigmoid,
        "Slice": _slice,
        "Softmax": _softmax,
        "Squeeze": _squeeze,
        "Sub": np.subtract,
        "Tanh": np.tanh,
        "Transpose": _transpose,
        "Unsqueeze": _unsqueeze,
    }.items()
}
