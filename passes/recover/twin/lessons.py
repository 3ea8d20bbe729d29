"""Lessons: what the float network gives for samples that are looked at again and again.

It does not change while the twin is trained, so it is worked out once for every sample and kept on
the disk. Values are those that were worked out, not others of less precision.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pimc.data.dataset import Dataset
from pimc.passes.recover.twin.student import Run, Student
from pimc.passes.recover.watch.calls import Call
from pimc.runtime.feeds import Feed, tensors

__all__ = ["Lessons", "lessons"]

#: Bytes that are kept at most; where there are more, all is worked out whenever it is asked for.
_MOST = 4 << 30
#: How near a sample's values must be alone to those beside another, relative to the largest.
_SAME = 1e-3

#: Number of an output, or use of a layer.
Key = int | Call
Named = dict[Key, torch.Tensor]


class _Part(NamedTuple):
    """Where one value lies.

    Attributes:
        place: of the first sample's in the file.
        shape: of a sample's.
    """

    place: int
    shape: torch.Size
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """Bytes of a sample's."""
        return self.shape.numel() * self.dtype.itemsize


@contextmanager
def lessons(student: Student, data: Dataset) -> Iterator[Lessons]:
    """The float network's lessons for ``data``, for as long as they are worked with."""
    with tempfile.TemporaryFile(buffering=0) as file:
        yield Lessons(student, _parts(student, data), np.zeros(len(data), np.bool_), file)


@dataclass(eq=False)
class Lessons:
    """What the float network gives for samples of one data set; see :func:`lessons`."""

    student: Student
    _parts: dict[Key, _Part] = field(repr=False)
    _known: npt.NDArray[np.bool_] = field(repr=False)
    _file: IO[bytes] = field(repr=False)

    def teach(self, feed: Feed, chosen: npt.NDArray[np.int64]) -> Run:
        """What :meth:`Student.teach` gives.

        Args:
            feed: the inputs.
            chosen: (samples,) their places in the data.
        """
        if self._parts and self._known[chosen].all():
            return _run({key: self._read(part, chosen) for key, part in self._parts.items()})
        found = self.student.teach(feed)
        if self._parts and self._fits(_named(found), len(chosen)):
            self._keep(_named(found), chosen)
        return found

    def _fits(self, values: Named, samples: int) -> bool:
        """Whether these are values of the samples one after the other, as they were before."""
        return values.keys() == self._parts.keys() and all(
            value.shape == (samples * part.shape[0], *part.shape[1:]) and value.dtype == part.dtype
            for value, part in zip(values.values(), self._parts.values(), strict=True)
        )

    def _keep(self, values: Named, chosen: npt.NDArray[np.int64]) -> None:
        try:
            for key, part in self._parts.items():
                for row, sample in zip(_rows(values[key], part), chosen, strict=True):
                    self._file.seek(part.place + int(sample) * part.size)
                    if self._file.write(row.data) != part.size:
                        return
        except OSError:
            self._parts = {}  # a disk that is full costs time, not the recovery
            return
        self._known[chosen] = True

    def _read(self, part: _Part, chosen: npt.NDArray[np.int64]) -> torch.Tensor:
        """(samples · values, …) what was kept of some samples."""
        shape = (len(chosen) * part.shape[0], *part.shape[1:])
        found = torch.empty(shape, dtype=part.dtype)
        for row, sample in zip(_rows(found, part), chosen, strict=True):
            self._file.seek(part.place + int(sample) * part.size)
            row[:] = np.frombuffer(self._file.read(part.size), np.uint8)
        return found


def _parts(student: Student, data: Dataset) -> dict[Key, _Part]:
    """Where every value lies; none where they are no values of single samples, or too many."""
    if len(data) < 2:
        return {}
    both = _named(student.teach(tensors(data.feed(0, 2))))
    first, second = (_named(student.teach(tensors(data.feed(n, n + 1)))) for n in range(2))
    if not both.keys() == first.keys() == second.keys():
        return {}
    parts, place = {}, 0
    for key, value in both.items():
        if not _one_after_the_other(value, first[key], second[key]):
            return {}
        parts[key] = part = _Part(place, first[key].shape, value.dtype)
        place += part.size * len(data)
    return parts if place <= _MOST else {}


def _one_after_the_other(both: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether what two samples give is what the first gives, and behind it what the second does."""
    if not first.dim() or first.device.type != "cpu" or first.shape != second.shape:
        return False
    apart = torch.cat([first, second])
    if both.shape != apart.shape or both.dtype != apart.dtype:
        return False
    reach = _SAME * float(both.abs().max()) if both.numel() else 0.0
    return bool(((both - apart).abs() <= reach).all())


def _rows(value: torch.Tensor, part: _Part) -> npt.NDArray[np.uint8]:
    """(samples, bytes) of a tensor."""
    return value.contiguous().numpy().reshape(-1).view(np.uint8).reshape(-1, part.size)


def _named(run: Run) -> Named:
    outputs, features = run
    return dict([*enumerate(outputs), *features.items()])


def _run(values: Named) -> Run:
    outputs = [value for key, value in values.items() if isinstance(key, int)]
    return outputs, {key: value for key, value in values.items() if not isinstance(key, int)}
