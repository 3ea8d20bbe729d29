"""What layers give in a run, and how much of it fits into memory."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, NamedTuple

import numpy as np
import onnx_ir as ir
import torch

from pimc.passes.recover.watch.calls import Call, next_call
from pimc.plan.records import layer_of
from pimc.runtime.feeds import Feed
from pimc.runtime.graph.executor import ArrayCall
from pimc.runtime.session import BATCH_SIZE, Session

__all__ = ["Room", "Shelf", "lasting_outputs", "layer_outputs", "read_in_parts"]

#: Most values held in memory at once.
_VALUES = 64_000_000
#: Bytes of a shelf beyond which it lies on the disk.
_SHELF_BYTES = 4 * _VALUES


@dataclass(frozen=True, eq=False)
class Shelf:
    """What uses of layers gave, each to be taken once; what is much lies on the disk."""

    _file: IO[bytes] = field(repr=False)
    places: dict[Call, tuple[int, torch.Size, torch.dtype]] = field(default_factory=dict)

    def put(self, call: Call, value: torch.Tensor) -> None:
        """Keep what a use of a layer gave."""
        self.places[call] = self._file.seek(0, 2), value.shape, value.dtype
        self._file.write(value.contiguous().numpy().data)

    def again(self) -> Shelf:
        """The same, each to be taken once more."""
        return Shelf(self._file, dict(self.places))

    def take(self, call: Call) -> torch.Tensor:
        """What a use of a layer gave."""
        place, shape, dtype = self.places.pop(call)
        value = torch.empty(shape, dtype=dtype)
        self._file.seek(place)
        content = self._file.read(value.nbytes)
        value.numpy().reshape(-1).view(np.uint8)[:] = np.frombuffer(content, np.uint8)
        return value


@contextmanager
def layer_outputs(session: Session, array: ArrayCall, inputs: Feed) -> Iterator[Shelf]:
    """What every layer gives for ``inputs``, use by use, for as long as it is worked with."""
    with tempfile.SpooledTemporaryFile(_SHELF_BYTES) as file:
        yield _filled(Shelf(file), session, array, inputs)


def lasting_outputs(session: Session, array: ArrayCall, inputs: Feed) -> Shelf:
    """The same for as long as it is kept, on the disk; to be worked with :meth:`Shelf.again`."""
    file = tempfile.TemporaryFile()  # noqa: SIM115
    found = Shelf(file)
    weakref.finalize(found, file.close)
    return _filled(found, session, array, inputs)


def _filled(found: Shelf, session: Session, array: ArrayCall, inputs: Feed) -> Shelf:
    def noted(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        y = array(node, x)
        found.put(next_call(layer_of(node), found.places), y)
        return y

    session.evaluate(inputs, array=noted)
    return found


def read_in_parts(read: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """What ``read`` gives for ``x``: all images at once would not fit a processor's caches."""
    return torch.cat([read(part) for part in x.split(BATCH_SIZE)])


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
