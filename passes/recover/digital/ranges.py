"""Ranges: how much of a signal the converters take in, chosen by what the chip then gives.

A smaller range is finer and clips more. Layer by layer, in the order in which they run, ranges
of the DAC and the ADC are tried, and kept where the outputs of the chip, each column fitted to
the float network's, come clearly nearer to it. They are registers of the converters: setting
them costs nothing when the network runs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import torch

from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.digital.calibrate import along, fitted_line
from pimc.passes.recover.watch.layers import Shelf, layer_outputs
from pimc.plan.records import layer_of
from pimc.runtime.crossbar import CrossbarLayer
from pimc.runtime.feeds import Feed
from pimc.runtime.graph.executor import ArrayCall
from pimc.runtime.ops.parts import by_samples
from pimc.runtime.session import BATCH_SIZE, Session

__all__ = ["fit_ranges"]

#: Ranges that are tried, as parts of the one the layer has.
_FACTORS = (0.5, 0.7, 0.85, 1.15, 1.4)
#: Part of the error's power that a change must take off: less may be chance.
_WORTH = 0.02


def fit_ranges(session: Session, teacher: ArrayCall, inputs: Feed) -> Image:
    """The image with the ranges that serve ``inputs`` best on the session's chip.

    Gains and biases are to be fitted again afterwards.

    Args:
        inputs: samples by input name.
    """
    features = layer_outputs(session, teacher, inputs)
    return session.image.with_layers(_tried(session, inputs, features))


def _tried(session: Session, inputs: Feed, features: Shelf) -> Collection[ImageLayer]:
    """The layers whose ranges are better now."""
    found: dict[int, ImageLayer] = {}

    def on_chip(node: ir.Node, parts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        name = layer_of(node)
        if (name, 1) in features.places or (name, 0) not in features.places:
            # Several uses of a layer share its ranges.
            return [by_samples(session.layers[name], x, BATCH_SIZE) for x in parts]
        wanted = features.take((name, 0))
        best = session.layers[name].layer
        y, least = _fitted(session, best, parts, wanted)
        start = best
        for candidates in (_adc_ranges, _dac_ranges):
            for candidate in candidates(session.image, best):
                tried, error = _fitted(session, candidate, parts, wanted)
                if error < (1 - _WORTH) * least:
                    best, y, least = candidate, tried, error
        if best is not start:
            found[best.index] = best
        return y

    session.evaluate_together(inputs, on_chip)
    return found.values()


def _fitted(
    session: Session,
    layer: ImageLayer,
    parts: Sequence[torch.Tensor],
    wanted: Sequence[torch.Tensor],
) -> tuple[list[torch.Tensor], float]:
    """What the chip gives with the ranges of ``layer``, columns fitted, and how far off it is."""
    bound = CrossbarLayer.of(session.image, layer, session.device, "cpu")
    found = [by_samples(bound, x, BATCH_SIZE) for x in parts]
    line = fitted_line(layer, found, wanted)
    found = [along(layer, y, line) for y in found]
    away = sum(
        float((y - w).square_().sum(dtype=torch.float64))
        for y, w in zip(found, wanted, strict=True)
    )
    return found, away / sum(y.numel() for y in found)


def _adc_ranges(image: Image, layer: ImageLayer) -> list[ImageLayer]:
    """The layer with other ranges of its ADCs; none where the chip fixes them."""
    if image.chip.adc.range == "fixed":
        return []
    return [_with_lsb(layer, factor) for factor in _FACTORS]


def _dac_ranges(image: Image, layer: ImageLayer) -> list[ImageLayer]:
    """The layer with other ranges of its inputs; none where every vector has its own."""
    scale = layer.input_scale
    if scale is None:
        return []
    fixed = image.chip.adc.range == "fixed"
    # Smaller codes make smaller currents: where it can, the ADC follows.
    return [
        replace(layer if fixed else _with_lsb(layer, 1 / factor), input_scale=scale * factor)
        for factor in _FACTORS
    ]


def _with_lsb(layer: ImageLayer, factor: float) -> ImageLayer:
    by_column = layer.adc_column_lsb_us
    return replace(
        layer,
        adc_lsb_us=layer.adc_lsb_us * factor,
        adc_column_lsb_us=None if by_column is None else (by_column * factor).astype(np.float32),
    )
