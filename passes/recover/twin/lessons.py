"""Lessons: what the float network gives for samples that are looked at again and again.

It does not change while the twin is trained, so what convolutions give is worked out once for every
sample and kept on the disk; what follows from it is worked out each time. So all values are the
same bit by bit: a convolution's do not depend on the samples beside one, those of a product of
matrices can.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pimc.data.dataset import Dataset
from pimc.errors import ModelError
from pimc.passes.recover.twin.student import LayerOutputs, Run, Student
from pimc.passes.recover.twin.twin import Twin
from pimc.passes.recover.watch.calls import Call
from pimc.runtime.feeds import Feed, tensors

__all__ = ["Lessons", "lessons"]

#: Bytes that are kept at most; where there are more, all is worked out whenever it is asked for.
_MOST = 4 << 30
#: How near a sample's values must be alone to those beside another, relative to the largest.
_SAME = 1e-3


class _Part(NamedTuple):
    """Where what a layer gives lies.

    Attributes:
        value: its name in the graph.
        place: of the first sample's in the file.
        shape: of a sample's, the sample's own axis first.
    """

    value: str
    place: int
    shape: torch.Size
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """Bytes of a sample's."""
        return self.shape.numel() * self.dtype.itemsize


class _Plan(NamedTuple):
    """What is kept and what is not.

    Attributes:
        parts: of the layers that are kept; none where nothing is.
        others: names of what all other layers give.
        order: all uses of layers, in the order of a run.
    """

    parts: dict[Call, _Part]
    others: Sequence[str] = ()
    order: Sequence[Call] = ()


def lessons(student: Student, data: Dataset) -> Lessons:
    """The float network's lessons for ``data``; they depend on no twin, and keep none."""
    # Closed with the lessons, which several trainings may share.
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115, it lives as long
    kept = np.zeros(len(data), np.bool_)
    found = Lessons(replace(student, twin=Twin({})), _plan(student, data), kept, file)
    weakref.finalize(found, file.close)
    return found


@dataclass(eq=False)
class Lessons:
    """What the float network gives for samples of one data set; see :func:`lessons`."""

    student: Student
    _plan: _Plan = field(repr=False)
    _known: npt.NDArray[np.bool_] = field(repr=False)
    _file: IO[bytes] = field(repr=False)

    def teach(self, feed: Feed, chosen: npt.NDArray[np.int64]) -> Run:
        """What :meth:`Student.teach` gives.

        Args:
            feed: the inputs.
            chosen: (samples,) their places in the data.
        """
        parts = self._plan.parts
        if parts and self._known[chosen].all():
            known = {call: self._read(part, chosen) for call, part in parts.items()}
            return _from(self.student, self._plan, feed, known)
        found = self.student.teach(feed)
        if parts and self._fits(found[1], len(chosen)):
            self._keep(found[1], chosen)
        return found

    def _fits(self, features: LayerOutputs, samples: int) -> bool:
        """Whether these are values of the samples one after the other, as they were before."""
        return list(features) == list(self._plan.order) and all(
            features[call].shape == (samples, *part.shape[1:])
            for call, part in self._plan.parts.items()
        )

    def _keep(self, features: LayerOutputs, chosen: npt.NDArray[np.int64]) -> None:
        try:
            for call, part in self._plan.parts.items():
                for row, sample in zip(_rows(features[call], part), chosen, strict=True):
                    self._file.seek(part.place + int(sample) * part.size)
                    if self._file.write(row.data) != part.size:
                        return
        except OSError:
            self._plan = _Plan({})  # a disk that is full costs time, not the recovery
            return
        self._known[chosen] = True

    def _read(self, part: _Part, chosen: npt.NDArray[np.int64]) -> torch.Tensor:
        """(samples, …) what was kept of some samples."""
        found = torch.empty((len(chosen), *part.shape[1:]), dtype=part.dtype)
        for row, sample in zip(_rows(found, part), chosen, strict=True):
            self._file.seek(part.place + int(sample) * part.size)
            row[:] = np.frombuffer(self._file.read(part.size), np.uint8)
        return found


def _from(student: Student, plan: _Plan, feed: Feed, known: LayerOutputs) -> Run:
    """What the teacher gives where some layers' outputs are known."""
    given = {part.value: known[call] for call, part in plan.parts.items()}
    outputs, found = student.teach({**feed, **given}, plan.others)
    features = found | known
    return outputs, {call: features[call] for call in plan.order}


def _plan(student: Student, data: Dataset) -> _Plan:
    """What is kept: nothing where it is no values of single samples, or too much."""
    if len(data) < 2:
        return _Plan({})
    feed = tensors(data.feed(0, 2))
    both = student.teach(feed)[1]
    apart = [student.teach(tensors(data.feed(n, n + 1)))[1] for n in range(2)]
    names = [name for name, _ in both]
    layers = {name: twin.layer for name, twin in student.twin.layers.items()}
    kept = [name for name in names if names.count(name) == 1 and layers[name].window is not None]
    parts: dict[Call, _Part] = {}
    place = 0
    for call in ((name, 0) for name in kept):
        if not _one_after_the_other(both[call], [features.get(call) for features in apart]):
            return _Plan({})
        first = apart[0][call]
        parts[call] = part = _Part(layers[call[0]].output, place, first.shape, first.dtype)
        place += part.size * len(data)
    others = dict.fromkeys(layers[name].output for name, use in both if (name, use) not in parts)
    plan = _Plan(parts, tuple(others), tuple(both))
    return plan if place <= _MOST and _can_go_on(student, plan, feed, both) else _Plan({})


def _one_after_the_other(both: torch.Tensor, apart: Sequence[torch.Tensor | None]) -> bool:
    """Whether what two samples give is what the first gives, and behind it what the second does."""
    first, second = apart
    if first is None or second is None or both.device.type != "cpu" or not both.numel():
        return False
    if len(both) != 2 or both.shape[1:] != first.shape[1:] or first.shape != second.shape:
        return False
    away = (both - torch.cat([first, second])).abs()
    return bool((away <= _SAME * both.abs().max()).all())


def _can_go_on(student: Student, plan: _Plan, feed: Feed, both: LayerOutputs) -> bool:
    """Whether a run can begin with what is kept: not from within a body of control flow."""
    if not plan.parts:
        return False
    try:
        _from(student, plan, feed, {call: both[call] for call in plan.parts})
    except ModelError:
        return False
    return True


def _rows(value: torch.Tensor, part: _Part) -> npt.NDArray[np.uint8]:
    """(samples, bytes) of a tensor."""
    return value.contiguous().numpy().reshape(-1).view(np.uint8).reshape(-1, part.size)
