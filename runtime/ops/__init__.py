"""ONNX operators in torch; importing this package fills the registry."""

from pimc.runtime.ops import control
from pimc.runtime.ops.layers import (
    activation,
    linear,
    norm,
    pooling,
    quant,
    recurrent,
    resize,
    signal,
)
from pimc.runtime.ops.registry import NotNative, OpContext, OpSpec, lookup, registered
from pimc.runtime.ops.tensors import cast, elementwise, generate, index, reduce, shape

__all__ = [
    "NotNative",
    "OpContext",
    "OpSpec",
    "activation",
    "cast",
    "control",
    "elementwise",
    "generate",
    "index",
    "linear",
    "lookup",
    "norm",
    "pooling",
    "quant",
    "recurrent",
    "reduce",
    "registered",
    "resize",
    "shape",
    "signal",
]
