"""Signal-to-noise ratio of every layer on simulated dies, and where the noise comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir
import torch

from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.plan.records import layer_of
from pimc.progress import Progress, silent
from pimc.runtime.die.die import Die
from pimc.runtime.door.abilities import saturation_of
from pimc.runtime.door.device import Saturation
from pimc.runtime.feeds import feeds
from pimc.runtime.sequences import unrolled
from pimc.runtime.session import BATCH_SIZE, Session, inputs_of
from pimc.studies.ablation_result import LayerSnr
from pimc.studies.drawn import FRESH, Reading

__all__ = ["SNR_IMAGES", "layer_snr"]

#: Samples that the ratios are measured on; each has many positions and columns.
SNR_IMAGES = 64


class _Powers:
    """Sums over one layer's outputs, and over its codes."""

    def __init__(self) -> None:
        self.values = dict.fromkeys(("total", "own", "repeated", "fluctuating", "adc"), 0.0)
        self.outputs = 0
        self.sum = self.square = 0.0

    def add_signal(self, y: torch.Tensor) -> None:
        wide = y.cpu().double()
        self.outputs += y.numel()
        self.sum += float(wide.sum())
        self.square += float(wide.square().sum())

    def add(self, name: str, one: torch.Tensor, two: torch.Tensor | None = None) -> None:
        """Add Σ one · two, or Σ one²."""
        first = one.cpu().double()
        self.values[name] += float((first * (first if two is None else two.cpu())).sum())

    def result(self, name: str, dies: int, clipped: float) -> LayerSnr:
        mean = {key: value / (self.outputs * dies) for key, value in self.values.items()}
        return LayerSnr(
            name,
            signal=max(self.square / self.outputs - (self.sum / self.outputs) ** 2, 0.0),
            total=mean["total"],
            own=mean["own"],
            # An estimate without bias; it may fall below zero where there is nothing.
            cells=max(mean["repeated"], 0.0),
            read_noise=mean["fluctuating"],
            adc=mean["adc"] * dies,
            clipped=clipped,
        )


def layer_snr(
    image: Image,
    seeds: Sequence[int],
    data: Dataset,
    images: int = SNR_IMAGES,
    *,
    reading: Reading = FRESH,
    progress: Progress = silent,
) -> tuple[LayerSnr, ...]:
    """Signal and error powers of every layer, in the order of the image.

    With ideal output y and two reads y + d₁, y + d₂ of one die without ADC, the power of what
    repeats is the mean of d₁ d₂ and that of read noise the mean of (d₁ − d₂)² / 2.

    Args:
        seeds: of the dies to draw, one at least; the means are over all of them.
        data: inputs; ``images`` of them, evenly spread, are used.
        reading: how the dies are read.

    Raises:
        DataError: the data have not the network's inputs.
    """
    data = unrolled(data, image)
    some = np.linspace(0, len(data) - 1, min(images, len(data))).astype(np.int64)
    chosen = data.subset(some).on(inputs_of(image))
    ideal = Session(image, die=Die.ideal(), converters=False, device=reading.processor)
    powers = {layer.name: _Powers() for layer in image.layers}
    _ideal_run(image, ideal, reading, chosen, powers)
    met = dict.fromkeys(powers, Saturation())
    for seed in progress(seeds, "signal to noise", len(seeds)):
        for name, count in _die_run(image, ideal, seed, reading, chosen, powers).items():
            met[name] += count
    return tuple(p.result(name, len(seeds), met[name].share) for name, p in powers.items())


def _ideal_run(
    image: Image, ideal: Session, reading: Reading, data: Dataset, powers: dict[str, _Powers]
) -> None:
    """Add up the signal, and what the ADC does to it."""
    rounded = Session(image, die=Die.ideal(), device=reading.processor)

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        name = layer_of(node)
        y = ideal.layers[name](x)
        powers[name].add_signal(y)
        powers[name].add("adc", rounded.layers[name](x) - y)
        return y

    for feed in _feeds(data, reading.processor):
        ideal.evaluate(feed, array=array)


def _die_run(
    image: Image,
    ideal: Session,
    seed: int,
    reading: Reading,
    data: Dataset,
    powers: dict[str, _Powers],
) -> dict[str, Saturation]:
    """Add up the errors of one die; returns what its ADC clipped."""
    whole, own = reading.session(image, seed), reading.session(image, seed)
    bare = reading.session(image, seed, converters=False)
    wanted: dict[str, list[torch.Tensor]] = {}

    def on_ideal(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        name = layer_of(node)
        y = ideal.layers[name](x)
        wanted.setdefault(name, []).append(y)
        one, two = bare.layers[name](x) - y, bare.layers[name](x) - y
        powers[name].add("own", own.layers[name](x) - y)
        powers[name].add("repeated", one, two)
        powers[name].add("fluctuating", (one - two) / math.sqrt(2))
        return y

    def on_die(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        name = layer_of(node)
        y = whole.layers[name](x)
        powers[name].add("total", y - wanted[name].pop(0))
        return y

    for feed in _feeds(data, reading.processor):
        ideal.evaluate(feed, array=on_ideal)
        whole.evaluate(feed, array=on_die)
    return saturation_of(whole.device)


def _feeds(data: Dataset, processor: str) -> Iterator[dict[str, torch.Tensor]]:
    for feed in feeds(data, BATCH_SIZE):
        yield {name: value.to(processor) for name, value in feed.items()}
