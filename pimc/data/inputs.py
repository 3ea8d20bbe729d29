"""The one input that data files describe: its name and shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pimc.data.layout import Shape
from pimc.errors import UsageError

__all__ = ["declared_shape", "fixed_batch", "input_shape", "only_input"]


def only_input(inputs: Sequence[Any]) -> str:
    """Name of the model's only input.

    Args:
        inputs: what has a ``name``: graph values, or what a session's ``get_inputs`` returns.

    Raises:
        UsageError: the model has several.
    """
    names = [str(arg.name) for arg in inputs]
    if len(names) != 1:
        raise UsageError(
            f"the network has the inputs {', '.join(names) or 'none'}",
            hint="data files describe one input; use the Python interface for several",
        )
    return names[0]


def declared_shape(inputs: Sequence[Any]) -> Shape:
    """Shape of the model's only input as it is declared; None for dimensions that may vary.

    Raises:
        UsageError: the model has several inputs, or does not say its input's shape.
    """
    name = only_input(inputs)
    if inputs[0].shape is None:
        raise UsageError(
            f"the model does not say the shape of its input {name}",
            hint="export the model with the shapes of its inputs",
        )
    return tuple(dim if isinstance(dim, int) else None for dim in inputs[0].shape)


def input_shape(inputs: Sequence[Any]) -> Shape:
    """:func:`declared_shape` of a network that takes any number of samples.

    Raises:
        UsageError: as there, or the number of samples is fixed.
    """
    shape = declared_shape(inputs)
    if shape and shape[0] is not None:
        raise fixed_batch(only_input(inputs), shape[0])
    return shape


def fixed_batch(name: str, size: int) -> UsageError:
    """The refusal of data for a network that takes exactly ``size`` samples at a time."""
    return UsageError(
        f"the network takes exactly {size} sample{'s' * (size != 1)} at a time: dimension 0 of "
        f"its input {name} is fixed, and not every operator can be proved to treat samples apart",
        hint="export the model with a dynamic batch dimension (torch.onnx.export: dynamic_shapes "
        "or dynamic_axes)",
    )
