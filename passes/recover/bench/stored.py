"""How a state lies in a file: one description a field, by which it is both stored and restored.

Images are stored as what differs from the image that the recovery began with, the parent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Generic, NamedTuple, TypeVar

import numpy.typing as npt

from pimc.files.container import Tensor
from pimc.image.image import Image
from pimc.passes.recover.bench.state import Kept, Least, State, Writes
from pimc.passes.recover.estimate import CellEstimate
from pimc.passes.recover.recovery import Stage
from pimc.passes.recover.train.trainer import Best

__all__ = ["FORMS", "restored", "stored", "under"]

T = TypeVar("T")
Tensors = Mapping[str, Tensor]
_ESTIMATE = [field.name for field in fields(CellEstimate)]


class Stored(NamedTuple):
    """A value in a file.

    Attributes:
        note: JSON.
        arrays: by name, without that of the field.
    """

    note: Any
    arrays: Tensors


@dataclass(frozen=True)
class Form(Generic[T]):
    """How the values of a field are stored.

    Attributes:
        stored: of a value and the parent.
        restored: the value again, of what was stored and the parent.
    """

    stored: Callable[[T, Image], Stored]
    restored: Callable[[Stored, Image], T]


def stored(state: State, parent: Image) -> Stored:
    """The whole state: notes by field, and tensors by field and name."""
    parts = {name: form.stored(getattr(state, name), parent) for name, form in FORMS.items()}
    tensors = {
        f"{n}.{key}": value for n, part in parts.items() for key, value in part.arrays.items()
    }
    return Stored({name: part.note for name, part in parts.items()}, tensors)


def restored(note: Mapping[str, Any], tensors: Tensors, parent: Image) -> State:
    """The state that was stored."""
    return State(
        **{
            name: form.restored(Stored(note[name], under(f"{name}.", tensors)), parent)
            for name, form in FORMS.items()
        }
    )


def under(prefix: str, tensors: Tensors) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, by the rest of their names."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _stored_image(image: Image, parent: Image) -> Stored:
    return Stored(*image.since(parent))


def _restored_image(found: Stored, parent: Image) -> Image:
    return parent.with_changes(found.note, found.arrays)


def _stored_kept(best: Best[Kept] | None, parent: Image) -> Stored:
    if best is None:
        return Stored(None, {})
    layers, tensors = _stored_image(best.value.image, parent)
    note = {"loss": best.loss, "since": best.since, "stage": best.value.stage, "layers": layers}
    return Stored(note, tensors)


def _restored_kept(found: Stored, parent: Image) -> Best[Kept] | None:
    note = found.note
    if note is None:
        return None
    image = _restored_image(Stored(note["layers"], found.arrays), parent)
    return Best(note["loss"], Kept(note["stage"], image), note["since"])


def _stored_least(least: Least | None, _: Image) -> Stored:
    return Stored(None, {}) if least is None else Stored(least.loss, {"each": least.each})


def _restored_least(found: Stored, _: Image) -> Least | None:
    return None if found.note is None else Least(found.note, found.arrays["each"].copy())


def _stored_estimates(estimates: Mapping[int, CellEstimate], _: Image) -> Stored:
    tensors = {
        f"{index}.{name}": getattr(estimate, name)
        for index, estimate in estimates.items()
        for name in _ESTIMATE
    }
    return Stored(list(estimates), tensors)


def _restored_estimates(found: Stored, _: Image) -> dict[int, CellEstimate]:
    return {
        index: CellEstimate(**{n: found.arrays[f"{index}.{n}"].copy() for n in _ESTIMATE})
        for index in found.note
    }


def _restored_writes(found: Stored, _: Image) -> Writes:
    return Writes(found.arrays["cells"], found.arrays["levels"], found.note)


def _stored_arrays(arrays: tuple[npt.NDArray[Any], ...], _: Image) -> Stored:
    return Stored(len(arrays), {str(n): array for n, array in enumerate(arrays)})


#: The fields of a state; each has a form.
FORMS: dict[str, Form[Any]] = {
    "image": Form(_stored_image, _restored_image),
    "estimates": Form(_stored_estimates, _restored_estimates),
    "random": Form(
        lambda random, _: Stored(None, {"state": random}),
        lambda found, _: found.arrays["state"].copy(),
    ),
    # What lies between the cut and the resumption is no part of a stage.
    "clock": Form(lambda clock, _: Stored(None, {}), lambda found, _: time.perf_counter()),
    "learnt": Form(lambda learnt, _: Stored(learnt, {}), lambda found, _: int(found.note)),
    "stages": Form(
        lambda stages, _: Stored([asdict(stage) for stage in stages], {}),
        lambda found, _: tuple(Stage(**stage) for stage in found.note),
    ),
    "kept": Form(_stored_kept, _restored_kept),
    "least": Form(_stored_least, _restored_least),
    "proposed": Form(
        lambda writes, _: Stored(writes.round, {"cells": writes.cells, "levels": writes.levels}),
        _restored_writes,
    ),
    "writes": Form(
        _stored_arrays,
        lambda found, _: tuple(found.arrays[str(n)] for n in range(found.note)),
    ),
}
