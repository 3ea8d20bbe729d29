"""Compensation of drift: what the digital side does at every age, learnt from statistics alone.

The chip's statistics say what cells of each level hold on average at an age
(:mod:`pimc.runtime.physics.mean_drift`), and so which weights a layer's cells amount to. Of every
output the gain and the pedestal are chosen that bring these nearest to the weights at the start,
input by input as calibration data drive them; the mean of what is left is an offset. Nothing is
read from a die. How far cells scatter about their mean stays: no function of time can know it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from pimc.chip.codebook import Codebook
from pimc.chip.design import Chip
from pimc.image.format.notes import DriftNote
from pimc.image.image import Image, ImageLayer
from pimc.plan.records import layer_of
from pimc.progress import Progress, silent
from pimc.runtime.die.die import require_age
from pimc.runtime.feeds import Feed
from pimc.runtime.physics.mean_drift import LevelDrift, level_drift
from pimc.runtime.physics.retention import changes
from pimc.runtime.session import Session

__all__ = ["AgeCost", "Compensated", "ages_of", "compensated", "driven_rows"]

Array64 = npt.NDArray[np.float64]

#: Tables begin with the first second and hold for thirty years.
_FIRST_S, _LAST_S = 1.0, 1e9
#: A column whose aged weights scatter less than this share of the layer's tells no gain.
_LEAST_SPREAD = 1e-6
#: Bounds of a gain: beyond them a column's cells have lost what they held.
_GAIN_LIMITS = (0.1, 10.0)


class Drive(NamedTuple):
    """How calibration data drive a layer's rows: (groups, rows) of DAC codes."""

    mean: Array64
    power: Array64

    @property
    def variance(self) -> Array64:
        """Mean square about the mean."""
        return np.maximum(self.power - self.mean**2, 0.0)


@dataclass(frozen=True)
class AgeCost:
    """What drift costs at one age: error power of all layers' outputs over their power, a mean.

    Attributes:
        age_s: since the cells were written.
        gain: mean gain of the compensation.
        before: error that the mean drift makes without compensation.
        after: what compensation leaves of it.
        spread: error that the cells' scatter about the mean makes beyond that at the start; of it
            no compensation that is learnt from statistics takes anything off.
    """

    age_s: float
    gain: float
    before: float
    after: float
    spread: float


@dataclass(frozen=True)
class Compensated:
    """An image whose digital side follows drift.

    Attributes:
        costs: one an age of the image's note; empty where time changes nothing.
    """

    image: Image = field(repr=False)
    costs: tuple[AgeCost, ...]


def ages_of(chip: Chip, from_s: float = 0.0) -> tuple[float, ...]:
    """The ages in seconds that tables are made for: from the start on by factors of ten.

    Instants at which the chip's own statistics are stated are among them.
    """
    first = max(from_s, chip.retention.youngest_s, _FIRST_S)
    decades = first * 10.0 ** np.arange(0, 1 + max(np.ceil(np.log10(_LAST_S / first)), 1))
    stated = [at for at in chip.retention.at_s if first < at < decades[-1]]
    return tuple(sorted({*decades.tolist(), *stated}))


def compensated(
    image: Image, data: Feed | None = None, *, from_s: float = 0.0, progress: Progress = silent
) -> Compensated:
    """The image with a digital side that makes up for the mean drift of the chip's cells.

    Args:
        image: compiled or recovered; a compensation that it has is replaced.
        data: calibration inputs by name; without them all rows count alike, and no offsets are
            worked out; nor are they for layers whose ranges follow the inputs.
        from_s: age of the cells at which the image's gains and offsets were fitted; 0: compiled,
            or recovered on a fresh die.
        progress: told of the layers.

    Raises:
        UsageError: ``from_s`` is no age.
    """
    require_age(from_s, "from_s")
    chip = image.chip
    bare = without(image)
    if not changes(chip):
        return Compensated(bare, ())
    ages = ages_of(chip, from_s)
    drift = level_drift(chip, (from_s, *ages))
    drives = {} if data is None else driven_rows(bare, data)
    layers, costs = [], []
    for layer in progress(bare.layers, "layers", len(bare.layers)):
        drive = drives.get(layer.name) or _even(layer)
        # Where ranges follow the inputs an offset would have to follow them, too.
        offsets = bool(drives) and layer.input_scale is not None
        found, cost = _layer(bare, layer, drift, drive, offsets=offsets)
        layers.append(found)
        costs.append(cost)
    note = DriftNote(ages, data is not None)
    mean = np.mean(costs, axis=0)
    told = tuple(AgeCost(age, *row) for age, row in zip(ages, mean.tolist(), strict=True))
    return Compensated(bare.with_drift(note, layers), told)


def without(image: Image) -> Image:
    """The image without compensation of drift; itself where it has none."""
    if image.drift is None:
        return image
    bare = (
        replace(layer, drift_gain=None, drift_pedestal=None, drift_offset=None)
        for layer in image.layers
    )
    return image.with_drift(None, bare)


def driven_rows(image: Image, data: Feed) -> Mapping[str, Drive]:
    """How data drive the rows of every layer on perfect cells, by layer name."""
    session = Session(image)
    counts: dict[str, int] = {}
    sums: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        name = layer_of(node)
        bound = session.layers[name]
        codes = bound.convert(x)[0].double()
        total, squares = codes.sum(dim=(0, 2)), codes.square().sum(dim=(0, 2))
        before = sums.get(name, (torch.zeros_like(total), torch.zeros_like(squares)))
        sums[name] = before[0] + total, before[1] + squares
        counts[name] = counts.get(name, 0) + codes.shape[0] * codes.shape[2]
        return bound(x)

    session.evaluate(data, array=array)
    return {
        layer.name: Drive(
            *(
                (value / counts[layer.name]).numpy().reshape(layer.groups, layer.rows)
                for value in sums[layer.name]
            )
        )
        for layer in image.layers
        if layer.name in sums
    }


def _even(layer: ImageLayer) -> Drive:
    shape = (layer.groups, layer.rows)
    return Drive(np.zeros(shape), np.ones(shape))


def _layer(
    image: Image, layer: ImageLayer, drift: LevelDrift, drive: Drive, *, offsets: bool
) -> tuple[ImageLayer, Array64]:
    """The layer with its tables, and (ages, 4) its part of each :class:`AgeCost`."""
    book = image.codebook_of(layer)
    levels = layer.by_weight(image.levels.reshape(-1)[image.cells(layer)])
    pedestal = book.pedestal_us(layer.zero).reshape(layer.groups, layer.cols)
    weight = _weights_us(book, drift.mean_us[0], drift.reference_us[0], levels)
    noise = _noise(book, drift, 0, levels, drive)
    power = _power(weight - pedestal[:, None], drive)
    tables, costs = [], []
    for age in range(1, len(drift.mean_us)):
        aged = _weights_us(book, drift.mean_us[age], drift.reference_us[age], levels)
        gain, shift = _fit(aged, weight, drive.variance if offsets else drive.power)
        left = gain[:, None] * aged - shift[:, None] - weight
        offset = np.zeros_like(gain)
        if offsets:
            offset = -np.einsum("gk,gkn->gn", drive.mean, left)
        tables.append((gain, shift, offset))
        after = _power(left, drive)
        if offsets:
            after = after - (offset**2).sum()
        spread = _noise(book, drift, age, levels, drive) - noise
        errors = (_power(aged - weight, drive), after, spread)
        costs.append((gain.mean(), *(max(value, 0.0) / max(power, 1e-30) for value in errors)))
    gains, pedestals, sums = (
        np.stack(each).reshape(len(each), -1).astype(np.float32)
        for each in zip(*tables, strict=True)
    )
    found = replace(layer, drift_gain=gains, drift_pedestal=pedestals, drift_offset=sums)
    return found, np.asarray(costs)


def _weights_us(
    book: Codebook, mean_us: Array64, reference_us: float, levels: npt.NDArray[np.uint16]
) -> Array64:
    """(groups, rows, cols) what an input adds to an output's current, on average."""
    found: Array64 = (mean_us[levels] - reference_us) @ book.coefficients
    return found


def _noise(
    book: Codebook,
    drift: LevelDrift,
    age: int,
    levels: npt.NDArray[np.uint16],
    drive: Drive,
) -> float:
    """Power that the cells' scatter adds to all outputs, and the reference columns'."""
    own = drift.variance[age][levels] @ book.coefficients**2
    common = drift.reference_variance[age] * book.coefficients.sum() ** 2
    return float(np.einsum("gk,gkn->", drive.power, own + common))


def _power(weight: Array64, drive: Drive) -> float:
    """Power of all outputs of such weights, rows driven independently about their means."""
    mean = np.einsum("gk,gkn->gn", drive.mean, weight)
    return float(np.einsum("gk,gkn->", drive.variance, weight**2) + (mean**2).sum())


def _fit(aged: Array64, weight: Array64, share: Array64) -> tuple[Array64, Array64]:
    """Gain and pedestal, (groups, cols): the least squares of gain · aged − pedestal − weight.

    Args:
        share: (groups, rows) what a row counts.
    """
    total = share.sum(axis=1, keepdims=True)
    share = np.where(total > 0, share / np.where(total > 0, total, 1.0), 1.0 / share.shape[1])
    mean_aged, mean = (np.einsum("gk,gkn->gn", share, values) for values in (aged, weight))
    from_mean, wanted = aged - mean_aged[:, None], weight - mean[:, None]
    scatter = np.einsum("gk,gkn->gn", share, from_mean**2)
    match = np.einsum("gk,gkn->gn", share, from_mean * wanted)
    of_all = match.sum() / scatter.sum() if scatter.sum() > 0 else 1.0
    tells = scatter > _LEAST_SPREAD * max(scatter.mean(), 1e-30)
    gain = np.where(tells, match / np.where(tells, scatter, 1.0), of_all)
    gain = np.clip(gain, *_GAIN_LIMITS)
    return gain, gain * mean_aged - mean
