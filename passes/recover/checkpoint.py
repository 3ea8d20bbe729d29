"""The checkpoint of a recovery: all that its next step depends on, in one file.

The file is replaced as a whole after every step, so a recovery can be cut at any moment: what
was cut is done again from the last step on, and gives the same. Of a device that keeps no state
of its own (a chip on the bench) the writes are in it, and are done again where they were cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pimc.data.dataset import Dataset
from pimc.errors import RecoveryError
from pimc.files import container
from pimc.files.atomic import sha256_array
from pimc.files.container import Tensor, canonical_json
from pimc.files.migrate import Step, up_to_date
from pimc.files.schema import Specs, TensorSpec, by_field, require
from pimc.image.image import VERSION as IMAGE_VERSION
from pimc.image.image import Image, layer_tensor
from pimc.passes.recover.bench import Bench
from pimc.passes.recover.identify import CellEstimate
from pimc.passes.recover.options import Stage
from pimc.runtime.door.device import Resumable

__all__ = ["SUFFIX", "Checkpoint"]

FORMAT = "pimc-recovery"
#: It holds tensors of images: where their format has another version, so has this.
VERSION = 1 + IMAGE_VERSION
#: From each older version to the next. There are none: what an older pimc began is begun again.
STEPS: Mapping[int, Step] = {}
SUFFIX = ".recovery"

#: Calibration samples by which data are recognised.
_SAMPLES = 64
_HINT = "recover without --resume to start again"
_CHOSEN = ("chosen.cells", "chosen.levels")
#: The tensors of a checkpoint beside those of the images, ``image.`` and ``kept.``, and those of
#: the device, ``device.``.
STATE: Specs = {
    "chosen.cells": TensorSpec(("int64",), ("chosen",), "cells to write next"),
    "chosen.levels": TensorSpec(("uint16",), ("chosen",), "and their levels"),
    "generator": TensorSpec(("uint8",), ("bytes",), "state of torch's generator"),
}
#: One of each round, ``writes.N``.
WRITES = TensorSpec(("int64",), ("writes", 4), "cell, level before, level after, round")
_BLOCKS, _COLUMNS = ("blocks", "rows", "columns"), ("blocks", "columns")
#: Those of a layer's estimate, ``layer.NNNN.<field>``.
ESTIMATE: Specs = {
    "present": TensorSpec(("uint8",), _BLOCKS, "where there is a cell"),
    "target_us": TensorSpec(("float64",), _BLOCKS, "what it was asked to hold", values="finite"),
    "mean_us": TensorSpec(("float64",), _BLOCKS, "the estimate", values="finite"),
    "variance": TensorSpec(("float64",), _BLOCKS, "of the estimate", values="not negative"),
    "offset": TensorSpec(("float64",), _COLUMNS, "what a converter adds", values="finite"),
    "noise": TensorSpec(("float64",), _COLUMNS, "variance of one read", values="not negative"),
    "rank": TensorSpec(("int64",), ("blocks",), "known directions", values="not negative"),
}


@dataclass(frozen=True)
class Checkpoint:
    """The file of one recovery.

    Attributes:
        path: where it lies; it need not exist.
        parent: the image that the recovery began with.
        strategy: the strategy that is followed.
    """

    path: Path
    parent: Image
    strategy: str

    def save(self, bench: Bench, done: int) -> None:
        """Note the state after so many steps, whole or not at all.

        Raises:
            UsageError: the file cannot be written.
        """
        kept_number, kept = bench.kept or (-1, None)
        cells, levels, number = bench.chosen
        image_layers, image_tensors = bench.image.since(self.parent)
        kept_layers, kept_tensors = (None, {}) if kept is None else kept.since(self.parent)
        manifest = {
            "job": self._job(bench),
            "done": done,
            "stages": [asdict(stage) for stage in bench.stages],
            "kept": kept_number,
            "round": number,
            "rounds": len(bench.writes),
            "captured": bench.captured is not None,
            "layers": image_layers,
            "kept_layers": kept_layers,
        }
        tensors: dict[str, Tensor] = {
            **_prefixed("image.", image_tensors),
            **_prefixed("kept.", kept_tensors),
            **dict(zip(_CHOSEN, (cells, levels), strict=True)),
            **{f"writes.{n}": writes for n, writes in enumerate(bench.writes)},
            "generator": bench.generator.get_state().numpy(),
        }
        for index, estimate in bench.estimates.items():
            tensors |= {
                layer_tensor(index, name): _storable(getattr(estimate, name)) for name in ESTIMATE
            }
        if isinstance(bench.device, Resumable):
            state = bench.device.state()
            tensors |= _prefixed("device.", state)
        container.save(self.path, *container.seal(FORMAT, VERSION, manifest, tensors))

    def load(self, bench: Bench) -> int:
        """Bring the bench, and a device that keeps a state, to where the recovery was cut.

        Returns:
            How many steps were done; 0 where there is no file.

        Raises:
            RecoveryError: the file is damaged, or of another recovery.
        """
        if not self.path.exists():
            return 0
        content = container.load(self.path, FORMAT, VERSION, RecoveryError)
        where = str(self.path)
        manifest, tensors = up_to_date(*content, VERSION, STEPS, RecoveryError, where, hint=_HINT)
        if manifest["job"] != self._job(bench):
            differing = ", ".join(
                key for key, value in self._job(bench).items() if manifest["job"].get(key) != value
            )
            raise RecoveryError(f"is of another recovery: {differing}", where, _HINT)
        self._require(tensors, manifest["rounds"], [*bench.estimates])
        bench.image = self.parent.with_changes(manifest["layers"], _under("image.", tensors))
        bench.kept = None
        if manifest["kept"] >= 0:
            changed = _under("kept.", tensors)
            kept = self.parent.with_changes(manifest["kept_layers"], changed)
            bench.kept = manifest["kept"], kept
        bench.stages = [Stage(**stage) for stage in manifest["stages"]]
        cells, levels = (tensors[name] for name in _CHOSEN)
        bench.chosen = cells, levels, manifest["round"]
        bench.writes = [tensors[f"writes.{n}"] for n in range(manifest["rounds"])]
        bench.generator.set_state(torch.from_numpy(tensors["generator"].copy()))
        if not manifest["captured"]:
            bench.captured = None
        for index in bench.estimates:
            values = {name: tensors[layer_tensor(index, name)].copy() for name in ESTIMATE}
            values["present"] = values["present"].astype(np.bool_)
            bench.estimates[index] = CellEstimate(**values)
        if isinstance(bench.device, Resumable):
            bench.device.restore(_under("device.", tensors))
        return int(manifest["done"])

    def remove(self) -> None:
        """The recovery is done; nothing to resume."""
        self.path.unlink(missing_ok=True)

    def _require(self, tensors: Mapping[str, Tensor], rounds: int, layers: Sequence[int]) -> None:
        """Make sure that all tensors are there, of the types and shapes that are described."""
        where = str(self.path)
        for specs in (STATE, *({f"writes.{n}": WRITES} for n in range(rounds))):
            require(specs, tensors, {}, RecoveryError, where, hint=_HINT)
        for index in layers:
            named = partial(layer_tensor, index)
            found = by_field(ESTIMATE, tensors, named)
            require(ESTIMATE, found, {}, RecoveryError, where, named=named, hint=_HINT)

    def _job(self, bench: Bench) -> dict[str, str]:
        """What must be the same for a recovery to go on."""
        options = canonical_json(asdict(bench.options))
        return {
            "image": self.parent.sha256,
            "die": bench.device.name if bench.device is not None else "",
            "strategy": self.strategy,
            "options": hashlib.sha256(options.encode()).hexdigest(),
            "calibration data": _recognised(bench.train),
        }


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _storable(values: Tensor) -> Tensor:
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def _recognised(data: Dataset) -> str:
    """A fingerprint of a data set: its length and some of its samples."""
    some = data.subset(np.linspace(0, len(data) - 1, min(_SAMPLES, len(data))).astype(np.int64))
    return f"{len(data)} {sha256_array(some.all())}"
