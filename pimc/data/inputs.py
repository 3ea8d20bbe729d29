"""A network's inputs by name: shape and type of each, as data are held to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pimc.data.layout import Shape
from pimc.errors import UsageError

__all__ = ["Input", "batch_axes", "fixed_batch", "free_inputs", "named_inputs"]

#: How free dimensions without a name are told.
_NAMELESS = {"None", "?"}
_TYPES = {"float": np.float32, "double": np.float64, "bfloat16": np.float32}


@dataclass(frozen=True)
class Input:
    """One input of a network.

    Attributes:
        shape: with its batch axis first; None for dimensions that may vary. ``()`` is a single
            value that all samples share.
        dtype: what the network takes.
        axis: where the network has its batch axis: first, but for states of recurrent layers.
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    axis: int = 0


def named_inputs(inputs: Sequence[Any]) -> tuple[Input, ...]:
    """The inputs of a network.

    Args:
        inputs: graph values, or what a session's ``get_inputs`` returns.

    Raises:
        UsageError: the model does not say the shape of an input, or has none.
    """
    if not inputs:
        raise UsageError("the network has no inputs", hint="there is nothing to give it data for")
    axes = batch_axes(inputs)
    return tuple(
        arg if isinstance(arg, Input) else _named(arg, axes[str(arg.name)]) for arg in inputs
    )


def free_inputs(inputs: Sequence[Any]) -> tuple[Input, ...]:
    """:func:`named_inputs` of a network that takes any number of samples.

    Raises:
        UsageError: as there, or the number of samples is fixed.
    """
    found = named_inputs(inputs)
    for one in found:
        if one.shape and one.shape[0] is not None:
            raise fixed_batch(one.name, one.shape[0])
    return found


def fixed_batch(name: str, size: int) -> UsageError:
    """The refusal of data for a network that takes exactly ``size`` samples at a time."""
    return UsageError(
        f"the network takes exactly {size} sample{'s' * (size != 1)} at a time: dimension 0 of "
        f"its input {name} is fixed, and not every operator can be proved to treat samples apart",
        hint="export the model with a dynamic batch dimension (torch.onnx.export: dynamic_shapes "
        "or dynamic_axes)",
    )


def batch_axes(inputs: Sequence[Any]) -> dict[str, int]:
    """Where each input has its batch axis, by its name; inputs as of :func:`named_inputs`."""
    free = [arg.shape[0] for arg in inputs if arg.shape and not isinstance(arg.shape[0], int)]
    return {str(arg.name): _batch_axis(arg, free) for arg in inputs}


def _batch_axis(arg: Any, free: Sequence[Any]) -> int:
    """Where the batch axis lies, given the free first dimensions of all inputs.

    It comes first, unless that dimension is fixed and the batch is found elsewhere: by the name
    that it has in the other inputs, or as the only dimension that is free, where it has none.
    """
    if not free or not arg.shape or not isinstance(arg.shape[0], int):
        return 0
    names = {str(dim) for dim in free} - _NAMELESS
    named = [axis for axis, dim in enumerate(arg.shape) if str(dim) in names]
    others = [axis for axis, dim in enumerate(arg.shape) if not isinstance(dim, int)]
    only = len(others) == 1 and str(arg.shape[others[0]]) in _NAMELESS
    return named[0] if named else others[0] if only else 0


def _named(arg: Any, axis: int) -> Input:
    name = str(arg.name)
    if arg.shape is None:
        raise UsageError(
            f"the model does not say the shape of its input {name}",
            hint="export the model with the shapes of its inputs",
        )
    shape = [dim if isinstance(dim, int) else None for dim in arg.shape]
    if axis:
        shape.insert(0, shape.pop(axis))
    return Input(name, tuple(shape), _dtype(arg, name), axis)


def _dtype(arg: Any, name: str) -> np.dtype[Any]:
    """Of ``tensor(float)``, as sessions say it, or ``FLOAT``, as graphs do."""
    said = getattr(arg, "type", None)
    text = said if isinstance(said, str) else getattr(getattr(arg, "dtype", None), "name", "float")
    kind = text.removeprefix("tensor(").removesuffix(")").lower()
    try:
        return np.dtype(_TYPES.get(kind, kind))
    except TypeError:
        raise UsageError(
            f"the network's input {name} is of type {text}",
            hint="data are numbers: convert what comes before them outside of the network",
        ) from None
