"""Rotate: channels of a transformer turned so that no channel stands out, where that is free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from onnx_ir.passes.common import RemoveUnusedNodesPass

from pimc.errors import UsageError
from pimc.files.weights.weight import Weight
from pimc.passes.graph.constants import add_constant, constant_array, fresh, names_in_use
from pimc.passes.rotate.absorb import absorbed
from pimc.passes.rotate.orthogonal import rotation
from pimc.passes.rotate.sizes import settle_sizes
from pimc.passes.rotate.streams import Operand, Stream, streams_of
from pimc.plan.records import Layer, Plan

if TYPE_CHECKING:
    import onnx_ir as ir

    from pimc.chip.design import Chip

__all__ = ["Rotate"]

Array64 = npt.NDArray[np.float64]

#: Seed of the rotations; fixed, so that equal inputs give equal bytes.
_SEED = 24040456


@dataclass(frozen=True)
class Rotate:
    """Rotate the channels of transformers where the graph proves that it changes no output.

    Gains and offsets of norms go into the layers behind them first, which is exact, too.
    """

    name: ClassVar[str] = "rotate"

    def __call__(self, plan: Plan, chip: Chip | None = None) -> Plan:
        """The plan with rotated layers and constants; ``chip`` is not used.

        Raises:
            UsageError: there is nothing to rotate; the error says what is in the way.
        """
        plan = replace(plan, graph=plan.graph.clone(), stage=self.name)
        settle_sizes(plan.graph.graph)
        plan = absorbed(plan)
        streams, refused = streams_of(plan)
        if not streams:
            raise UsageError(
                "no channels can be rotated without a change of outputs",
                where=plan.model_name,
                hint=refused[0] if refused else "leave `rotate` out",
            )
        turned = {
            stream: rotation(
                stream.block,
                np.random.default_rng([_SEED, number]),
                keeps_mean=stream.keeps_mean,
            )
            for number, stream in enumerate(streams)
        }
        taken = names_in_use(plan.graph)
        for stream, matrix in turned.items():
            for operand in stream.operands.values():
                _turn_operand(plan.graph.graph, operand, matrix, taken)
        RemoveUnusedNodesPass()(plan.graph)
        layers = tuple(_turn_layer(layer, turned.items()) for layer in plan.layers)
        return replace(plan, layers=layers, notes=(*plan.notes, _note(streams)))


def _turn_layer(layer: Layer, turned: Iterable[tuple[Stream, Array64]]) -> Layer:
    """The layer with the columns and rows rotated of the streams that it writes and reads."""
    weight, bias = None, layer.bias.astype(np.float64)
    for stream, matrix in turned:
        if layer.name in stream.readers or layer.name in stream.writers:
            weight = layer.weight.numpy().astype(np.float64) if weight is None else weight
            if layer.name in stream.readers:
                weight = _against(weight, matrix)
            if layer.name in stream.writers:
                weight, bias = _along(weight, matrix), _along(bias, matrix)
    if weight is None:
        return layer
    return replace(layer, weight=Weight(weight.astype(np.float32)), bias=bias.astype(np.float32))


def _turn_operand(graph: ir.Graph, operand: Operand, matrix: Array64, taken: set[str]) -> None:
    """Have one node read a constant that is rotated."""
    value = operand.node.inputs[operand.place]
    array = constant_array(value)
    if value is None or array is None:
        return
    exact = array.astype(np.float64)
    turned = _against(exact, matrix) if operand.rows else _along(exact, matrix)
    name = fresh(f"{value.name}/rotated", taken)
    other = add_constant(graph, name, turned.astype(array.dtype))
    operand.node.replace_input_with(operand.place, other)


def _along(values: Array64, matrix: Array64) -> Array64:
    """Blocks of the last axis times the matrix."""
    blocks = values.reshape(*values.shape[:-1], -1, len(matrix)) @ matrix
    return blocks.reshape(values.shape)


def _against(values: Array64, matrix: Array64) -> Array64:
    """Blocks of the last axis but one, rows, times the matrix's inverse."""
    return np.swapaxes(_along(np.swapaxes(values, -1, -2), matrix), -1, -2)


def _note(streams: list[Stream]) -> str:
    """What was rotated, for whoever looks at the plan."""
    counts = Counter(stream.block for stream in streams)
    told = ", ".join(f"{counts[size]} of {size} channels" for size in sorted(counts, reverse=True))
    return f"streams rotated: {told}"
