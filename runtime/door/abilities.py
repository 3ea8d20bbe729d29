"""What some devices can do besides: optional protocols, and the functions that ask for them.

pimc never asks what class a device is of. It asks for an ability, by ``isinstance`` with one of the
protocols below, and does without it where it is missing; a device has an ability by having its
methods, and inherits from nothing. The simulated chip and a laboratory's driver are asked alike.
:class:`Simulator` is the one ability of drivers, all others are of the devices that they open.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pimc.errors import UsageError
from pimc.image.image import Image, ImageLayer
from pimc.runtime.die.region import Region
from pimc.runtime.door.device import Device, Saturation
from pimc.runtime.physics.ir_drop import Method
from pimc.runtime.read.digital_side import DigitalSide

if TYPE_CHECKING:
    import torch


@runtime_checkable
class Simulator(Protocol):
    """A driver whose dies are made up: drawn from a seed, and kept in files.

    With it ``--die`` may be left out: ``run``, ``eval``, ``capture`` and ``recover`` draw a die of
    ``--seed`` and write the image into it, ``eval`` and ``recover`` draw ``--dies N`` of them, and
    ``eval --explain`` and ``recover --compare`` have dies to work on. ``--die`` is a file, which
    must exist to be read, and without which ``program`` would have nowhere to put what it wrote.

    Without it a driver opens the one chip that there is: ``--die`` is what the driver makes of it,
    the chip must hold the image, and the options above are refused.
    """

    def simulate(
        self,
        image: Image,
        *,
        die: Path | None,
        seed: int,
        ir_drop: Method,
        processor: str,
        converters: bool,
    ) -> Device:
        """The die kept in the file ``die`` or, where there is no such file, a new one of ``seed``.

        A new die is unwritten. It follows all tables of ``image.chip``, so that what is switched
        off there costs nothing; the same arguments give the same die.

        Args:
            seed: of a new die, and of the noise of all reads.
            ir_drop: how the resistance of wires is worked out, where the chip's wires have any.
            processor: what torch computes on; reads return tensors that lie there.
            converters: False leaves the ADC out: codes come back unrounded and unclipped.

        Raises:
            DeviceError: the file is damaged, or its die is one of another chip.
            UsageError: this simulation cannot be made in the way asked for.
        """
        ...


@runtime_checkable
class Rectifies(Protocol):
    """A device whose :meth:`ReadsLayers.read_layer` heeds ``least`` of the digital side.

    With it a rectifier behind a layer costs no pass over its outputs. Without it they are rectified
    as the network says.
    """

    @property
    def rectifies(self) -> bool:
        """Whether it does."""
        ...


@runtime_checkable
class ReadsLayers(Protocol):
    """A device that cuts input vectors itself and adds up the codes of a layer's row blocks.

    With it pimc gives layers to :meth:`read_layer` as they are, and where all layers of a network
    are read so, keeps torch to one thread meanwhile: the processor is the device's. Without it all
    layers go through :meth:`Device.read`, as captures always do.

    Layers whose input vectors have ranges of their own, and convolutions of volumes, come as
    products of DAC codes, with an input scale of 1: matrix products, and convolutions as such of
    single positions, whose input is (samples, groups · rows, positions).
    """

    def reads_whole(self, layer: ImageLayer) -> bool:
        """Whether :meth:`read_layer` knows how to read a layer."""
        ...

    def read_layer(
        self, region: Region, layer: ImageLayer, x: torch.Tensor, side: DigitalSide | None = None
    ) -> torch.Tensor:
        """Outputs, or sums of ADC codes, for a layer's input in the shape of the ONNX graph.

        Only layers that :meth:`reads_whole` affirms are asked for. The same as
        :meth:`Device.read` of the DAC codes of ``x`` and a sum over row blocks, up to float
        rounding.

        Args:
            side: how code sums become outputs; they are returned as they are if None.

        Returns:
            (samples, groups · bitlines, positions).

        Raises:
            DeviceError: the chip does not answer.
        """
        ...


@runtime_checkable
class Observable(Protocol):
    """A device that can be looked at without leaving a trace.

    With it pimc measures accuracy on labelled data through an observer, so that a recovery reads,
    and ends, the same with ``--data`` as without. Without it those reads go to the device itself:
    they wear it and count like any other.
    """

    def observer(self, read_seed: int) -> Device:
        """The same chip, whose reads leave no trace: no wear, no count, no noise drawn from it.

        It sees what is written later, too.

        Args:
            read_seed: of the noise of its reads, where that is drawn from one.
        """
        ...


@runtime_checkable
class Savable(Protocol):
    """A device whose cells would be lost when the program ends, and that can be saved.

    With it pimc saves to the path given with ``--die``: while it writes (``program``, before an
    array is noted as done), when it has written (``program``, ``recover``), and when it has read
    (``run``, ``eval``, ``capture``) where that changed anything. Without it, or without ``--die``,
    the chip is taken to keep its cells by itself. A recovery that is cut has saved nothing yet, so
    what is savable should be resumable, too; else ``recover --resume`` refuses what was lost.
    """

    @property
    def reads_change(self) -> bool:
        """Whether reads change what is saved."""
        ...

    def save(self, path: Path) -> None:
        """Write a file that the driver can open again, whole or not at all.

        Raises:
            UsageError: the file cannot be written.
        """
        ...


@runtime_checkable
class Resumable(Protocol):
    """A device that can be brought back to a state of this job.

    With it the state is part of a recovery's checkpoint, and a recovery that was cut ends as if it
    had not been. Without it the chip is where the cut left it: writes that were cut are done again.
    """

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All that later reads and writes depend on."""
        ...

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go back to a state of this same device.

        Raises:
            DeviceError: the state is of another one.
        """
        ...


@runtime_checkable
class Ageable(Protocol):
    """A device for which time passes when it is told so.

    With it drawn dies are read ``--age TIME`` after they were written. Without it ``--age`` is
    refused.
    """

    def age(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            UsageError: a time that is negative, no number or too long.
        """
        ...


@runtime_checkable
class TellsAge(Protocol):
    """A device that knows how long ago its cells were written.

    With it the digital side of an image that follows drift is that of the device's age. Without it
    the age is what ``--age`` says; where nobody says it, the cells are taken to be fresh.
    """

    @property
    def age_s(self) -> float:
        """Seconds since most of the cells were written."""
        ...


@runtime_checkable
class CountsReads(Protocol):
    """A device that counts its reads: one array activated by one input vector, or a bit plane.

    With it captures note the count, and comparisons of strategies tell what each took. Without it
    both say that it is not known.
    """

    @property
    def reads(self) -> int:
        """Array reads so far."""
        ...


@runtime_checkable
class CountsWrites(Protocol):
    """A device that knows how often its cells were written.

    With it no cell is written beyond what the chip endures (``programming.endurance_writes``).
    Without it only the writes that pimc did itself are counted.
    """

    def times_written(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How often each of ``cells`` (addresses, any shape) was written so far.

        Raises:
            DeviceError: the chip does not answer.
        """
        ...


@runtime_checkable
class CountsSaturation(Protocol):
    """A device that counts conversions whose current lay outside the converter's range.

    With it ``run`` and ``eval`` name the layers that clip. Without it nothing is said of them.
    """

    @property
    def saturation(self) -> Mapping[str, Saturation]:
        """By layer name, since the device was opened."""
        ...


def observer(device: Device, seed: int) -> Device:
    """The same chip for looking on, with read noise of its own; itself where it has no observer."""
    return device.observer(seed + 1) if isinstance(device, Observable) else device


def flush(device: Device, die: Path | None) -> None:
    """Make what was written last: save a device that would lose it.

    Raises:
        UsageError: the file cannot be written.
    """
    if die is not None and isinstance(device, Savable):
        device.save(die)


def keep_disturb(device: Device, die: Path | None) -> None:
    """Save what reads changed, where they change anything that is saved.

    Raises:
        UsageError: the file cannot be written.
    """
    if isinstance(device, Savable) and device.reads_change:
        flush(device, die)


def age(device: Device, seconds: float) -> None:
    """Let time pass for a device; none always may.

    Raises:
        UsageError: the device cannot be aged, or not by so long.
    """
    if isinstance(device, Ageable):
        device.age(seconds)
    elif seconds:
        raise UsageError("does not age at will", where=device.name, hint="leave out --age")


def age_of(device: Device) -> float | None:
    """Seconds since most cells were written; None where the device does not know."""
    return float(device.age_s) if isinstance(device, TellsAge) else None


def reads_of(device: Device) -> int | None:
    """Array reads so far; None where the device does not count them."""
    return int(device.reads) if isinstance(device, CountsReads) else None


def saturation_of(device: Device) -> dict[str, Saturation]:
    """Saturation by layer since the device was opened; empty where it does not count it."""
    return dict(device.saturation) if isinstance(device, CountsSaturation) else {}
