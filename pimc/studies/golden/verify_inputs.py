"""Inputs drawn for a network whose data are not at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pimc.data.inputs import batch_axes
from pimc.errors import ModelError
from pimc.image.golden import array_values
from pimc.image.image import Image
from pimc.runtime.session import NodeArg

__all__ = ["ATTEMPTS", "Attempt", "random_inputs"]


@dataclass(frozen=True)
class Attempt:
    """What is drawn where the graph does not say.

    Attributes:
        length: of free dimensions other than the batch.
        least: least whole number; the largest is 1.
    """

    length: int = 16
    least: int = 0


#: To be tried in turn: an operator may need more than the first, as a reflecting pad does, or no
#: zeros, as lengths of sequences do.
ATTEMPTS = tuple(Attempt(length, least) for length in (16, 64, 256) for least in (0, 1))
#: Largest trip count that is drawn.
_TRIPS = 3
_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
#: Operators through which a number reaches the one that it is meant for.
_PASSING = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


def random_inputs(
    session_inputs: Sequence[NodeArg],
    image: Image,
    samples: int,
    seed: int,
    attempt: Attempt = ATTEMPTS[0],
) -> dict[str, npt.NDArray[np.generic]]:
    """Plausible inputs: normal numbers that fill the range of the layer they enter.

    Free dimensions get ``samples`` where they come first, here or, of the same name, in another
    input, else a length. Whole numbers are 0 or 1; lengths of sequences and trip counts are 1 or
    more, and no more than there can be.

    Raises:
        ModelError: an input is of a type that cannot be drawn.
    """
    rng = np.random.default_rng(seed)
    spread = _input_spread(image)
    axes = batch_axes(session_inputs)
    batch = {arg.shape[0] for arg in session_inputs if arg.shape and isinstance(arg.shape[0], str)}
    most = _counts(image, attempt.length)
    drawn = {}
    for arg in session_inputs:
        shape = [
            dim
            if isinstance(dim, int)
            else (samples if axis == axes[arg.name] or dim in batch else attempt.length)
            for axis, dim in enumerate(arg.shape)
        ]
        counted = arg.name in most
        least, largest = (1, most[arg.name]) if counted else (attempt.least, 1)
        drawn[arg.name] = _draw(arg, shape, spread.get(arg.name, 1.0), (least, largest), rng)
    return drawn


def _draw(
    arg: NodeArg,
    shape: Sequence[int],
    spread: float,
    whole: tuple[int, int],
    rng: np.random.Generator,
) -> npt.NDArray[np.generic]:
    kind = arg.type.removeprefix("tensor(").removesuffix(")")
    if kind in ("float", "double", "float16"):
        values = rng.standard_normal(shape) * spread
        return values.astype({"float": np.float32, "double": np.float64}.get(kind, np.float16))
    if kind != "bool" and not kind.startswith(("int", "uint")):
        raise ModelError(
            f"no inputs of type {arg.type} can be drawn",
            where=f"input {arg.name}",
            hint="give data with --data",
        )
    return np.asarray(rng.integers(*whole, shape, endpoint=True)).astype(kind)


def _input_spread(image: Image) -> dict[str, float]:
    """A third of the input range of each layer, by the value it reads."""
    layers = {layer.name: layer for layer in image.layers}
    found: dict[str, float] = {}
    high = 2**image.chip.dac.bits - 1
    for name, source, _ in array_values(image):
        scale = layers[name].input_scale
        if scale is not None:
            found[source] = scale * high / (6 if layers[name].input_signed else 3)
    return found


def _counts(image: Image, length: int) -> dict[str, int]:
    """Of inputs that are lengths of sequences or trip counts the most that they may be."""
    found: dict[str, int] = {}
    graph = image.graph().graph
    for value in graph.inputs:
        for user, index in _users(value):
            if user.op_type == "Loop" and index == 0:
                found[value.name or ""] = _TRIPS
            elif user.op_type in _RECURRENT and index == 4:
                found[value.name or ""] = _sequence(user, length)
    return found


def _users(value: ir.Value) -> list[tuple[ir.Node, int]]:
    found = []
    for user, index in value.uses():
        if user.op_type in _PASSING and index == 0:
            found += _users(user.outputs[0])
        else:
            found.append((user, index))
    return found


def _sequence(node: ir.Node, length: int) -> int:
    """How long the sequences of a recurrent layer are."""
    source = node.inputs[0]
    shape = None if source is None else source.shape
    if shape is None:
        return 1
    axis = node.attributes.get_int("layout", 0)
    first = shape[axis]
    return first if isinstance(first, int) else length
