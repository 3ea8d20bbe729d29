"""Equalize: the channels of every layer's input scaled so that weights use their ranges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import Codebook, codebooks
from pimc.chip.converters import dac_limits
from pimc.chip.design import Chip
from pimc.files.weights.weight import Weight
from pimc.passes.equalize.chains import Chain, chain_to, scale_inputs
from pimc.passes.equalize.row_scales import Channels, Precision, error_of, row_scales
from pimc.passes.quantize.left import LEFT_ALONE
from pimc.passes.quantize.outputs import apply
from pimc.passes.quantize.quantize import Calibration
from pimc.plan.records import Layer, Plan, array_nodes, layer_of, repeated_layers

__all__ = ["Equalize", "channels_met", "rescaled"]

Array64 = npt.NDArray[np.float64]

#: Samples that the channels of pictures are judged by: every one has thousands of positions.
_SAMPLES = 16
#: Part of a layer's error that scales must take off to be worth having: where the layer before
#: takes them over, and where they are multiplications of the digital side.
_LEAST, _LEAST_DIGITAL = 0.01, 0.05


@dataclass(frozen=True)
class Equalize:
    """Scale the input channels of every layer for the least error of its outputs.

    What the network computes stays the same, but for float rounding. The layer before takes the
    scales over where it can; else a product of its own does, where that is worth it.

    Attributes:
        calibration: how to run the network on calibration data.
        write_noise: how much of the programming errors' variance counts; what recovery leaves of
            it if None.
    """

    name: ClassVar[str] = "equalize"
    calibration: Calibration = field(repr=False)
    write_noise: float | None = 1.0

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """The plan with scaled layers."""
        books = codebooks(chip, (layer.mapping for layer in plan.layers))
        book_of = dict(zip((layer.name for layer in plan.layers), books, strict=True))
        met = channels_met(plan, self.calibration)

        def scale_of(layer: Layer, chain: Chain | None) -> Array64 | None:
            channels = met.get(layer.name)
            if channels is None or layer.input_steps is not None:
                return None
            return self._scale(layer, channels, chain, chip, book_of[layer.name])

        return replace(rescaled(plan, scale_of), stage=self.name)

    def _scale(
        self, layer: Layer, met: Channels, chain: Chain | None, chip: Chip, book: Codebook
    ) -> Array64 | None:
        """The scales of a layer's channels; None where they are not worth it."""
        high = dac_limits(chip, signed=not layer.nonnegative_input)[1]
        share = LEFT_ALONE if self.write_noise is None else self.write_noise
        precision = Precision.of(book, high, share)
        weight = layer.weight.numpy().astype(np.float64)
        if len(met.power) < 2 or not met.peak.any():
            return None
        scale = row_scales(weight, met, precision)
        before, after = (
            error_of(w, channels, book, precision, share)
            for w, channels in ((weight, met), (_by_row(weight, scale), met.over(scale)))
        )
        least = _LEAST_DIGITAL if chain is None else _LEAST
        return scale if after < (1 - least) * before else None


def channels_met(plan: Plan, calibration: Calibration) -> dict[str, Channels]:
    """What the channels of all inputs are like in the float network, by layer.

    Of layers that one run uses several times it is the last use.
    """
    layers = {layer.name: layer for layer in plan.layers}
    met: dict[str, Channels] = {}

    def in_float(name: str, x: Array64) -> Array64:
        layer = layers[name]
        if x.size:
            channel = x.ndim - 1 if layer.window is None else 1
            others = tuple(axis for axis in range(x.ndim) if axis != channel)
            peak = np.maximum(x.max(axis=others), -x.min(axis=others))
            met[name] = Channels.of(x.var(axis=others), peak)
        return apply(layer, x, layer.weight.numpy().astype(np.float64), layer.bias)

    pictures = any(layer.window is not None for layer in plan.layers)
    calibration(plan.graph, in_float, most=_SAMPLES if pictures else None)
    return met


def rescaled(plan: Plan, scale_of: Callable[[Layer, Chain | None], Array64 | None]) -> Plan:
    """The plan with input channels scaled: another that computes the same.

    Layers that one run may use several times keep their scales.

    Args:
        scale_of: what to multiply the rows of each channel of a layer with; None leaves it as it
            is. The chain is that to the layer which takes the scales over, if there is one.
    """
    graph = plan.graph.clone()
    repeated = repeated_layers(graph)
    layers = {layer.name: layer for layer in plan.layers if layer.name not in repeated}
    rows: dict[str, Array64] = {}
    columns: dict[str, Array64] = {}
    for node in array_nodes(graph):
        layer = layers.get(layer_of(node))
        chain = None if layer is None else chain_to(node, layers)
        scale = None if layer is None else scale_of(layer, chain)
        if layer is None or scale is None:
            continue
        scale_inputs(node, layer, chain, 1 / scale)
        rows[layer.name] = scale
        if chain is not None:
            columns[chain.source] = 1 / scale
    scaled = tuple(_scaled(e, rows.get(e.name), columns.get(e.name)) for e in plan.layers)
    return replace(plan, graph=graph, layers=scaled)


def _by_row(weight: Array64, scale: Array64) -> Array64:
    """Weights (groups, rows, cols), the rows of each channel times its scale."""
    groups, rows, _ = weight.shape
    taps = groups * rows // len(scale)
    scaled: Array64 = weight * np.repeat(scale, taps).reshape(groups, rows, 1)
    return scaled


def _scaled(layer: Layer, rows: Array64 | None, columns: Array64 | None) -> Layer:
    """The layer with its rows and its columns scaled."""
    if rows is None and columns is None:
        return layer
    weight, bias = layer.weight.numpy().astype(np.float64), layer.bias
    if rows is not None:
        weight = _by_row(weight, rows)
    if columns is not None:
        weight = weight * columns.reshape(layer.groups, 1, layer.cols)
        bias = (bias * columns).astype(np.float32)
    return replace(layer, weight=Weight(weight.astype(np.float32)), bias=bias)
