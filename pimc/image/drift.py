"""The function that the digital side holds against drift: a layer's constants by age.

Between the ages that an image states, values are linear in the logarithm of time, the gain's
logarithm likewise, so that a power law is met exactly. Younger than the first age nothing is
changed, older than the last what holds there stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pimc.image.content import ImageContent
from pimc.image.layer import ImageLayer

__all__ = ["Compensation", "bias_of", "compensation_at", "pedestal_us", "worth_us"]

Array64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Compensation:
    """What the digital side does otherwise at one age; all are (groups · cols,).

    Attributes:
        gain: factor of what the converters' codes are worth.
        pedestal_us: added to what a unit of input is taken to add to a column, µS.
        offset_us: added to each column's current, µS times DAC code.
    """

    gain: Array64 = field(repr=False)
    pedestal_us: Array64 = field(repr=False)
    offset_us: Array64 = field(repr=False)


def compensation_at(
    layer: ImageLayer, ages_s: Sequence[float], age_s: float
) -> Compensation | None:
    """What compensates the drift of a layer's cells at an age; None where nothing does.

    Args:
        ages_s: of the layer's tensors, increasing.
        age_s: time since the cells were written.
    """
    gain, pedestal, offset = layer.drift_gain, layer.drift_pedestal, layer.drift_offset
    if gain is None or pedestal is None or offset is None or age_s <= ages_s[0]:
        return None
    instants = np.log(ages_s)
    at = float(np.interp(np.log(age_s), instants, np.arange(len(instants), dtype=np.float64)))
    before = min(int(at), len(instants) - 2)
    share = at - before

    def between(values: npt.NDArray[np.floating]) -> Array64:
        low, high = values[before : before + 2].astype(np.float64)
        return np.asarray(low + share * (high - low))

    return Compensation(np.exp(between(np.log(gain))), between(pedestal), between(offset))


def worth_us(
    image: ImageContent, layer: ImageLayer, drift: Compensation | None
) -> float | npt.NDArray[np.floating]:
    """What a code of the converters is worth: one number, or (groups, bitlines)."""
    lsb = layer.adc_column_lsb_us
    if drift is None:
        return layer.adc_lsb_us if lsb is None else lsb.copy()
    book = image.codebook_of(layer)
    gain = drift.gain.reshape(layer.groups, layer.cols, 1).repeat(book.col_planes, axis=2)
    return book.on_bitlines(gain) * (layer.adc_lsb_us if lsb is None else lsb)


def pedestal_us(
    image: ImageContent, layer: ImageLayer, drift: Compensation | None
) -> npt.NDArray[np.float64]:
    """(groups · cols,) what a unit of input adds to each column beside its weights."""
    pedestal = image.codebook_of(layer).pedestal_us(layer.zero)
    return pedestal if drift is None else pedestal + drift.pedestal_us


def bias_of(layer: ImageLayer, drift: Compensation | None) -> npt.NDArray[np.floating]:
    """(groups · cols,) what is added to each column's output."""
    if drift is None or layer.input_scale is None:
        return layer.bias.copy()
    unit = layer.scale.astype(np.float64) * layer.gain * layer.input_scale
    return np.asarray(layer.bias + drift.offset_us * unit)
