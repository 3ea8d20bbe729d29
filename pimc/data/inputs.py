"""A network's inputs by name: shape and type of each, as data are held to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pimc.data.layout import Shape
from pimc.errors import UsageError

__all__ = ["Input", "fixed_batch", "free_inputs", "named_inputs"]

_TYPES = {"float": np.float32, "double": np.float64, "bfloat16": np.float32}


@dataclass(frozen=True)
class Input:
    """One input of a network.

    Attributes:
        shape: with its batch axis first; None for dimensions that may vary. ``()`` is a single
            value that all samples share.
        dtype: what the network takes.
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any]


def named_inputs(inputs: Sequence[Any]) -> tuple[Input, ...]:
    """The inputs of a network.

    Args:
        inputs: graph values, or what a session's ``get_inputs`` returns.

    Raises:
        UsageError: the model does not say the shape of an input, or has none.
    """
    if not inputs:
        raise UsageError("the network has no inputs", hint="there is nothing to give it data for")
    return tuple(_named(arg) for arg in inputs)


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


def _named(arg: Any) -> Input:
    name = str(arg.name)
    if arg.shape is None:
        raise UsageError(
            f"the model does not say the shape of its input {name}",
            hint="export the model with the shapes of its inputs",
        )
    shape = tuple(dim if isinstance(dim, int) else None for dim in arg.shape)
    return Input(name, shape, _dtype(arg, name))


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
