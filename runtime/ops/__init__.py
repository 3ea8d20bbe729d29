"""ONNX operators in torch; importing this package fills the registry."""

from pimc.runtime.ops import (
    activation,
    cast,
    control,
    elementwise,
    generate,
    index,
    linear,
    norm,
    pooling,
    quant,
    recurrent,
    reduce,
    resize,
    shape,
    signal,
)
from pimc.runtime.ops.registry import NotNative, OpContext, OpSpec, lookup, registered

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
