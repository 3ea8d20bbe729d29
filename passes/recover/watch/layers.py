"""What layers give in a run, kept on the disk, and how much of it fits into memory."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
import onnx_ir as ir
import torch

from pimc.passes.recover.watch.calls import Call, next_call
from pimc.plan.records import layer_of
from pimc.runtime.feeds import Feed
from pimc.runtime.graph.executor import ArrayCall
from pimc.runtime.session import Session

__all__ = ["Room", "Shelf", "Taught", "layer_outputs", "outputs_beside"]

#: Of a node, its input and its output.
Beside: TypeAlias = Callable[[ir.Node, torch.Tensor, torch.Tensor], torch.Tensor]

#: Most values held in memory at once.
_VALUES = 64_000_000
#: Samples below which passes over a network get slow.
_LEAST_AT_ONCE = 32
#: Bytes of a shelf beyond which it lies on the disk.
_SHELF_BYTES = 1 << 24


class _Place(NamedTuple):
    """Where a value lies in a file, and what it is."""

    start: int
    shape: torch.Size
    dtype: torch.dtype


@dataclass(frozen=True, eq=False)
class Shelf:
    """What uses of layers gave; what is much lies on the disk."""

    _file: tempfile.SpooledTemporaryFile[bytes] = field(repr=False)
    places: dict[Call, list[_Place]] = field(default_factory=dict)

    @staticmethod
    def empty() -> Shelf:
        """A shelf of its own file, which goes when the shelf does."""
        file = tempfile.SpooledTemporaryFile(_SHELF_BYTES)  # noqa: SIM115, it lives as long
        found = Shelf(file)
        weakref.finalize(found, file.close)
        return found

    def put(self, call: Call, parts: Sequence[torch.Tensor]) -> None:
        """Keep what a use of a layer gave, for some samples and then for others."""
        self.places[call] = []
        for part in parts:
            self.places[call].append(_Place(self._file.seek(0, 2), part.shape, part.dtype))
            self._file.write(part.contiguous().numpy().data)

    def take(self, call: Call) -> list[torch.Tensor]:
        """What a use of a layer gave, part by part."""
        return [self._value(place) for place in self.places[call]]

    def _value(self, place: _Place) -> torch.Tensor:
        value = torch.empty(place.shape, dtype=place.dtype)
        self._file.seek(place.start)
        self._file.readinto(value.numpy().reshape(-1).view(np.uint8).data)
        return value


def layer_outputs(session: Session, array: ArrayCall, inputs: Feed) -> Shelf:
    """What every layer gives for ``inputs``, use by use, as :meth:`Session.evaluate_together`."""
    found = Shelf.empty()

    def noted(node: ir.Node, parts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        given = [array(node, x) for x in parts]
        found.put(next_call(layer_of(node), found.places), given)
        return given

    session.evaluate_together(inputs, noted)
    return found


def outputs_beside(
    session: Session,
    array: ArrayCall,
    inputs: Feed,
    other: Beside,
    want: Sequence[str] | None = None,
) -> tuple[dict[str, torch.Tensor], Shelf]:
    """Values of the network, and what ``other`` makes of every layer's inputs, use by use.

    Args:
        array: what the layers give to those behind them.
        other: of a node, its input, and what ``array`` gives.
        want: names of the values; the network's outputs if None.
    """
    found = Shelf.empty()

    def noted(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        y = array(node, x)
        found.put(next_call(layer_of(node), found.places), [other(node, x, y)])
        return y

    return session.evaluate(inputs, want=want, array=noted), found


@dataclass(eq=False)
class Taught:
    """What the float network's layers give for the same inputs, worked out when first asked for."""

    _shelf: Shelf | None = field(default=None, repr=False)

    def of(self, session: Session, teacher: ArrayCall, inputs: Feed) -> Shelf:
        """The outputs for ``inputs``, which are the same each time."""
        if self._shelf is None:
            self._shelf = layer_outputs(session, teacher, inputs)
        return self._shelf


class Room(NamedTuple):
    """Of how many samples the outputs of layers fit into memory.

    It follows from the network alone, so that results are the same on every machine.

    Attributes:
        all_layers: those of all layers at once.
        one_layer: those of one layer at a time.
    """

    all_layers: int
    one_layer: int

    @staticmethod
    def of(session: Session, teacher: ArrayCall, one: Feed) -> Room:
        """Judged by a single sample."""
        values: list[int] = []

        def count(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
            y = teacher(node, x)
            values.append(y.numel())
            return y

        session.evaluate(one, array=count)
        held = (sum(values), max(values, default=0))
        return Room(*(max(1, _VALUES // max(each, 1)) for each in held))

    @property
    def gradients(self) -> int:
        """Of how many samples gradients are worked out at once: the outputs are kept for them."""
        return min(self.all_layers, max(_LEAST_AT_ONCE, self.all_layers // 8))

    @property
    def sample_bytes(self) -> tuple[int, int]:
        """About how much the outputs of all layers take for a sample, and of the largest."""
        return 4 * _VALUES // self.all_layers, 4 * _VALUES // self.one_layer
