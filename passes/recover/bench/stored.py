"""How a state lies in a file: one description a field, by which it is both stored and restored.

Images are stored as what differs from the image that the recovery began with, the parent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from pimc.errors import RecoveryError
from pimc.files.container import Tensor
from pimc.files.manifest import read_object
from pimc.files.schema import (
    Range,
    Specs,
    TensorSpec,
    by_field,
    outside,
    require,
    tensors_of,
)
from pimc.files.strict import Key, check_value, key
from pimc.image.image import Image, ImageLayer
from pimc.image.rules.sound import require_sound
from pimc.passes.recover.bench.state import NOT_TOLD, Kept, Least, State, Writes
from pimc.passes.recover.estimate import CellEstimate, prior
from pimc.passes.recover.recovery import Stage
from pimc.passes.recover.train.trainer import Best

__all__ = ["FORMS", "restored", "stored", "under"]

T = TypeVar("T")
Tensors = Mapping[str, Tensor]
_ESTIMATE = tensors_of(CellEstimate)
#: Those of single cells, which are large.
_OF_CELLS = ("present", "target_us", "mean_us", "variance")
#: Tensors of an image that no recovery changes.
_FIXED = frozenset({"graph", "tiles", "schedule", "lines", "line_offsets"})
_PROPOSED: Specs = {
    "cells": TensorSpec(("int64",), ("n",), "addresses", values="cells"),
    "levels": TensorSpec(("uint16",), ("n",), "what they are asked for", values="levels"),
}
_DONE = TensorSpec(("int64",), ("n", 4), "cell, level before, level after, round",
                   values="not negative")  # fmt: skip
_EACH: Specs = {"each": TensorSpec(("float32",), ("samples",), "loss by sample", values="finite")}
_COUNT, _NUMBER, _NUMBERS = Key("int", "", low=0), Key("float", ""), Key("floats", "")


@dataclass(frozen=True)
class _KeptNote:
    """What is noted of the image to go back to."""

    loss: float = field(metadata=key("float", "the objective"))
    since: int = field(metadata=key("int", "stages since", low=0))
    stage: int = field(metadata=key("int", "number of its stage", low=0))
    layers: list[Any] = field(metadata=key("tables", "of its manifest"))


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
        beside_own: in place of the parent both are given the state's own image.
    """

    stored: Callable[[T, Image], Stored]
    restored: Callable[[Stored, Image], T]
    beside_own: bool = False


def stored(state: State, parent: Image) -> Stored:
    """The whole state: notes by field, and tensors by field and name."""
    parts = {
        name: form.stored(getattr(state, name), state.image if form.beside_own else parent)
        for name, form in FORMS.items()
    }
    tensors = {
        f"{n}.{key}": value for n, part in parts.items() for key, value in part.arrays.items()
    }
    return Stored({name: part.note for name, part in parts.items()}, tensors)


def restored(note: Mapping[str, Any], tensors: Tensors, parent: Image) -> State:
    """The state that was stored.

    Raises:
        RecoveryError: what a field was stored as is no value of it; key or tensor is named.
        ImageError: an image is not what its format says.
        KeyError: a key or tensor is missing.
    """
    values: dict[str, Any] = {}
    for name, form in FORMS.items():
        beside = values["image"] if form.beside_own else parent
        values[name] = form.restored(Stored(note[name], under(f"{name}.", tensors)), beside)
    state = State(**values)
    if state.kept is not None and state.kept.value.stage >= len(state.stages):
        raise RecoveryError(f"kept.stage: there are {len(state.stages)} stages")
    return state


def under(prefix: str, tensors: Tensors) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, by the rest of their names."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _stored_image(image: Image, parent: Image) -> Stored:
    return Stored(*image.since(parent))


def _restored_image(found: Stored, parent: Image) -> Image:
    fixed = sorted(_FIXED & found.arrays.keys())
    if fixed:
        raise RecoveryError(f"tensor {fixed[0]} of an image is another than its parent's")
    image = parent.with_changes(found.note, found.arrays)
    require_sound(image)
    for ours, theirs in zip(image.layers, parent.layers, strict=False):
        if (ours.name, ours.sizes, ours.window) != (theirs.name, theirs.sizes, theirs.window):
            raise RecoveryError(f"layers: layer {ours.index} is another than its parent's")
    return image


def _stored_kept(best: Best[Kept] | None, parent: Image) -> Stored:
    if best is None:
        return Stored(None, {})
    layers, tensors = _stored_image(best.value.image, parent)
    note = {"loss": best.loss, "since": best.since, "stage": best.value.stage, "layers": layers}
    each = best.value.each
    return Stored(note, {**tensors, "each": each} if len(each) else tensors)


def _restored_kept(found: Stored, parent: Image) -> Best[Kept] | None:
    if found.note is None:
        return None
    note = read_object(_KeptNote, found.note, "kept", RecoveryError)
    each = _restored_each(found, "kept") if "each" in found.arrays else NOT_TOLD
    tensors = {name: value for name, value in found.arrays.items() if name != "each"}
    image = _restored_image(Stored(note["layers"], tensors), parent)
    return Best(note["loss"], Kept(note["stage"], image, each), note["since"])


def _stored_least(least: Least | None, _: Image) -> Stored:
    return Stored(None, {}) if least is None else Stored(least.loss, {"each": least.each})


def _restored_least(found: Stored, _: Image) -> Least | None:
    if found.note is None:
        return None
    loss, problem = check_value(_NUMBER, found.note)
    if problem:
        raise RecoveryError(f"least: {problem}")
    return Least(loss, _restored_each(found, "least"))


def _restored_each(found: Stored, field: str) -> npt.NDArray[np.float32]:
    named = f"{field}.{{}}".format
    require(_EACH, found.arrays, {}, RecoveryError, "state", ranges={}, named=named)
    return np.array(found.arrays["each"], np.float32)


def _stored_estimates(estimates: Mapping[int, CellEstimate], image: Image) -> Stored:
    """What of the cells is not as it was known before anything was looked at."""
    tensors = {}
    for index, estimate in estimates.items():
        known = prior(image, image.layers[index])
        for name in _ESTIMATE:
            value = getattr(estimate, name)
            if name not in _OF_CELLS or not np.array_equal(value, getattr(known, name)):
                tensors[f"{index}.{name}"] = value
    return Stored(list(estimates), tensors)


def _restored_estimates(found: Stored, image: Image) -> dict[int, CellEstimate]:
    if found.note != [layer.index for layer in image.layers]:
        raise RecoveryError("estimates: they are not of the layers of the image")
    return {layer.index: _estimate(found.arrays, image, layer) for layer in image.layers}


def _estimate(arrays: Tensors, image: Image, layer: ImageLayer) -> CellEstimate:
    cells, known = image.cells(layer), prior(image, layer)
    derived = {f"{layer.index}.{name}": getattr(known, name) for name in _OF_CELLS}
    arrays = {**derived, **arrays}
    sizes = dict(zip(("blocks", "rows", "columns"), cells.shape, strict=True))
    named = f"estimates.{layer.index}.{{}}".format
    contents = by_field(_ESTIMATE, arrays, f"{layer.index}.{{}}".format)
    ranges = {"ranks": (0.0, float(cells.shape[1]))}
    require(_ESTIMATE, contents, sizes, RecoveryError, "state", ranges=ranges, named=named)
    estimate = CellEstimate(**{name: arrays[f"{layer.index}.{name}"].copy() for name in _ESTIMATE})
    if not np.array_equal(estimate.present, cells >= 0):
        raise RecoveryError(f"tensor {named('present')} is not where the layer's cells are")
    return estimate


def _restored_writes(found: Stored, parent: Image) -> Writes:
    _require_writes("proposed", _PROPOSED, found.arrays, parent)
    cells, levels = found.arrays["cells"], found.arrays["levels"]
    if len(np.unique(cells)) < len(cells):
        raise RecoveryError("tensor proposed.cells names a cell twice")
    return Writes(cells, levels, _count("proposed", found.note))


def _restored_done(found: Stored, parent: Image) -> tuple[npt.NDArray[np.int64], ...]:
    count, done = _count("writes", found.note), []
    if count > len(found.arrays):
        raise RecoveryError(f"writes: {count} are named, {len(found.arrays)} are there")
    for number in range(count):
        _require_writes("writes", {str(number): _DONE}, found.arrays, parent)
        table = found.arrays[str(number)]
        columns = dict(zip(("cells", "before", "levels"), table.T, strict=False))
        for name, values in columns.items():
            spec = _PROPOSED["cells" if name == "cells" else "levels"]
            if outside(spec, values, _write_ranges(parent)) is not None:
                raise RecoveryError(f"tensor writes.{number} holds {name} that the image has not")
        done.append(table)
    return tuple(done)


def _require_writes(field: str, specs: Specs, arrays: Tensors, parent: Image) -> None:
    named, ranges = f"{field}.{{}}".format, _write_ranges(parent)
    require(specs, arrays, {}, RecoveryError, "state", ranges=ranges, named=named)


def _write_ranges(parent: Image) -> dict[str, Range]:
    cells = parent.arrays * parent.chip.array.rows * parent.chip.array.cols
    return {"cells": (0, cells - 1), "levels": (0, parent.chip.cell.levels - 1)}


def _restored_random(found: Stored, _: Image) -> npt.NDArray[np.uint8]:
    state = found.arrays["state"].copy()
    try:
        torch.Generator().set_state(torch.from_numpy(state))
    except (RuntimeError, TypeError) as cause:
        raise RecoveryError("tensor random.state is no state of a generator") from cause
    return state


def _restored_stages(found: Stored, _: Image) -> tuple[Stage, ...]:
    if not isinstance(found.note, list):
        raise RecoveryError("stages: must be a list")
    stages = tuple(
        Stage(**read_object(Stage, entry, f"stage {number}", RecoveryError))
        for number, entry in enumerate(found.note)
    )
    for number, stage in enumerate(stages):
        _, problem = check_value(_NUMBERS, list(stage.layer_errors.values()))
        if problem:
            raise RecoveryError(f"layer_errors: {problem}", f"stage {number}")
    return stages


def _count(name: str, note: object) -> int:
    """A whole number, 0 or more."""
    number, problem = check_value(_COUNT, note)
    if problem:
        raise RecoveryError(f"{name}: {problem}")
    return int(number)


def _stored_arrays(arrays: tuple[npt.NDArray[Any], ...], _: Image) -> Stored:
    return Stored(len(arrays), {str(n): array for n, array in enumerate(arrays)})


#: The fields of a state; each has a form.
FORMS: dict[str, Form[Any]] = {
    "image": Form(_stored_image, _restored_image),
    "estimates": Form(_stored_estimates, _restored_estimates, beside_own=True),
    "random": Form(lambda random, _: Stored(None, {"state": random}), _restored_random),
    # What lies between the cut and the resumption is no part of a stage.
    "clock": Form(lambda clock, _: Stored(None, {}), lambda found, _: time.perf_counter()),
    "learnt": Form(
        lambda learnt, _: Stored(learnt, {}), lambda found, _: _count("learnt", found.note)
    ),
    "stages": Form(
        lambda stages, _: Stored([asdict(stage) for stage in stages], {}),
        _restored_stages,
    ),
    "kept": Form(_stored_kept, _restored_kept),
    "least": Form(_stored_least, _restored_least),
    "proposed": Form(
        lambda writes, _: Stored(writes.round, {"cells": writes.cells, "levels": writes.levels}),
        _restored_writes,
    ),
    "writes": Form(_stored_arrays, _restored_done),
}
