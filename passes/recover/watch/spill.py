"""What a run keeps for its gradients, on the disk where the memory has no room for it.

The values come back as they were, bit by bit, so gradients do not depend on where they lay.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from pimc.errors import UsageError
from pimc.work.memory import Memory

__all__ = ["spilling"]

#: Smaller tensors stay where they are: together they are little.
_SMALL_BYTES = 1 << 16


class _File:
    """A file without a name, which goes when this does."""

    def __init__(self) -> None:
        self.raw = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115, it lives as long
        weakref.finalize(self, self.raw.close)


class _Laid(NamedTuple):
    """A tensor that lies in a file; the file goes with the last of them.

    Attributes:
        order: of its axes, as they lie.
    """

    file: _File
    place: int
    shape: torch.Size
    order: tuple[int, ...]
    dtype: torch.dtype


@contextmanager
def spilling(memory: Memory) -> Iterator[None]:
    """What is computed inside keeps no more for its gradients in memory than there is room for."""
    if memory.limit is None or not torch.is_grad_enabled():
        yield
        return
    memory.tidy(memory.limit // 2)
    run = _Run(memory)
    with torch.autograd.graph.saved_tensors_hooks(run.lay, _take):
        yield


@dataclass(eq=False)
class _Run:
    """The file of one run, made when it is needed."""

    memory: Memory
    _file: _File | None = None
    _end: int = 0

    def lay(self, value: torch.Tensor) -> torch.Tensor | _Laid:
        """The tensor itself where it finds room, else where it lies."""
        # An output that its own gradient keeps would keep itself.
        value = value.detach()
        if value.device.type != "cpu" or value.nbytes < _SMALL_BYTES:
            return value
        order = _order(value)
        if order is None or self.memory.has_room(value.nbytes):
            return value
        try:
            self._file = self._file or _File()
            found = _Laid(self._file, self._end, value.shape, order, value.dtype)
            written = _written(found, value.permute(order))
        except OSError:
            written = False
        if not written:
            return value  # a disk that is full costs memory, not the recovery
        self._end += value.nbytes
        return found


def _order(value: torch.Tensor) -> tuple[int, ...] | None:
    """The order of its axes in which a tensor lies without gaps; None if there is none."""
    order = tuple(sorted(range(value.dim()), key=lambda axis: -value.stride()[axis]))
    plain = value.is_contiguous()
    order = tuple(range(value.dim())) if plain else order
    return order if plain or value.permute(order).is_contiguous() else None


def _bytes(value: torch.Tensor) -> memoryview:
    return value.numpy().reshape(-1).view(np.uint8).data


def _written(laid: _Laid, value: torch.Tensor) -> bool:
    laid.file.raw.seek(laid.place)
    return laid.file.raw.write(_bytes(value)) == value.nbytes


def _take(kept: torch.Tensor | _Laid) -> torch.Tensor:
    if isinstance(kept, torch.Tensor):
        return kept
    value = torch.empty([kept.shape[axis] for axis in kept.order], dtype=kept.dtype)
    kept.file.raw.seek(kept.place)
    if kept.file.raw.readinto(_bytes(value)) != value.nbytes:
        raise UsageError(
            "what lay there did not come back",
            where=tempfile.gettempdir(),
            hint="look after the disk, or set TMPDIR to a folder on another",
        )
    back = np.argsort(kept.order).tolist()
    return value.permute(back)
