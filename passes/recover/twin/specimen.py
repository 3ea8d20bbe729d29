"""A simulated die on which layers are written as they are trained, and read."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip.codebook import by_weight
from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.twin.noisy import NoisyLayer
from pimc.passes.recover.twin.twin import weight_of_cells
from pimc.runtime.crossbar import CrossbarLayer
from pimc.runtime.die.bank import bank_of
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.digital import Digital
from pimc.runtime.door.device import Device
from pimc.runtime.door.sim_driver import simulated

__all__ = ["Specimen"]


@dataclass(frozen=True, eq=False)
class _Written:
    """A die that was written.

    Attributes:
        fresh: it was drawn for one forward pass.
        codes: of every layer, as they were asked for.
        weights: (groups, rows, cols) what the cells of every layer amount to, the gain left out.
    """

    device: Device
    processor: str
    fresh: bool
    codes: Sequence[torch.Tensor] = field(repr=False)
    weights: Sequence[torch.Tensor] = field(repr=False)

    def still(self, processor: str, codes: Sequence[torch.Tensor]) -> bool:
        """Whether it serves for these codes, too."""
        same = all(torch.equal(old, new) for old, new in zip(self.codes, codes, strict=True))
        return same and not self.fresh and self.processor == processor


class Specimen:
    """Dies that hold an image's layers as these are trained.

    Args:
        image: what the layers were made from.
        die: holds them; a copy of it is written, from the same state whenever weights change, so
            that a cell always lands with the same error.
        seed: of the read noise, and of dies that are drawn anew.
        converters: False leaves the ADC out.
    """

    def __init__(self, image: Image, die: Die, seed: int, *, converters: bool = True) -> None:
        self._image, self._die, self._seed = image, copy.deepcopy(die), seed
        self._converters = converters
        self._regions = [Region.of(image, layer) for layer in image.layers]
        pairs = zip(image.layers, self._regions, strict=True)
        self._cells = [layer.by_weight(region.cells) for layer, region in pairs]
        self._written: _Written | None = None
        self._times = 0

    def write(self, layers: Sequence[NoisyLayer], processor: str, *, fresh: bool) -> None:
        """Write the layers, each of which then computes with what its cells hold.

        Nothing is written where the die holds them already.

        Args:
            processor: torch device that reads are computed on.
            fresh: a die is drawn that nobody has seen before.
        """
        codes = [layer.codes().cpu() for layer in layers]
        held = self._written
        if fresh or held is None or not held.still(processor, codes):
            held = self._written = self._write(codes, processor, fresh=fresh)
        for layer, weight in zip(layers, held.weights, strict=True):
            layer.land(weight.to(layer.weight))

    def chip(self, layers: Sequence[NoisyLayer]) -> Mapping[str, CrossbarLayer]:
        """The layers on the die that was written last, with their gains and biases."""
        held = self._written
        assert held is not None
        return {
            layer.layer.name: self._bound(layer.layer_now(), region, held)
            for layer, region in zip(layers, self._regions, strict=True)
        }

    def __getstate__(self) -> dict[str, object]:
        """A copy writes again what was written last, and reads it from the first noise on."""
        again = self._times - (self._written is not None)
        return {**self.__dict__, "_written": None, "_times": again}

    def _bound(self, layer: ImageLayer, region: Region, held: _Written) -> CrossbarLayer:
        digital = Digital.of(self._image, layer, torch.device(held.processor))
        return CrossbarLayer(layer, self._image.chip, region, held.device, digital)

    def _write(self, codes: Sequence[torch.Tensor], processor: str, *, fresh: bool) -> _Written:
        image, number = self._image, self._times
        self._times += 1
        die = Die.simulated(_drawn(self._seed, number)) if fresh else copy.deepcopy(self._die)
        device = simulated(
            die,
            image,
            seed=self._seed + number,  # reads of one writing and of the next differ
            ir_drop="first",
            processor=processor,
            converters=self._converters,
        )
        levels = [
            image.codebook_of(layer).levels[one.numpy()].reshape(-1)
            for layer, one in zip(image.layers, codes, strict=True)
        ]
        wanted = np.concatenate(levels)
        cells = np.concatenate([one.reshape(-1) for one in self._cells])
        stale = device.written(cells) != wanted
        device.program(cells[stale], wanted[stale])
        pairs = zip(image.layers, self._regions, strict=True)
        weights = [self._held(die, layer, region) for layer, region in pairs]
        return _Written(device, processor, fresh, codes, weights)

    def _held(self, die: Die, layer: ImageLayer, region: Region) -> torch.Tensor:
        """(groups, rows, cols) what the cells of a layer amount to."""
        held: npt.NDArray[np.float64] = bank_of(die, region).g_us.astype(np.float64)
        weight = weight_of_cells(self._image, layer, held)
        if layer.row_correction is not None:
            common = layer.row_correction.astype(np.float64)[:, layer.block_of_bitline]
            taken = by_weight(common.transpose(0, 2, 1), layer.planes, layer.layout)
            scale = layer.scale.astype(np.float64).reshape(layer.groups, 1, layer.cols)
            weight = weight - scale * (taken @ self._image.codebook_of(layer).coefficients)
        return torch.from_numpy(weight).float()


def _drawn(seed: int, number: int) -> int:
    """The seed of the die that is drawn at this writing."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
