"""The checkpoint of a recovery: all that its next step depends on, in one file.

The file is replaced as a whole after every step, so a recovery can be cut at any moment: what
was cut is done again from the last step on, and gives the same. Of a device that keeps no state
of its own (a chip on the bench) the writes are in it, and are done again where they were cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pimc.data.dataset import Dataset
from pimc.errors import RecoveryError
from pimc.files import container
from pimc.files.atomic import sha256_array
from pimc.files.container import Tensor, canonical_json
from pimc.image.image import Image, layer_tensor
from pimc.passes.recover.bench import Bench
from pimc.passes.recover.identify import CellEstimate
from pimc.passes.recover.options import Stage
from pimc.runtime.door.abilities import Resumable
from pimc.runtime.door.program import require_kept

__all__ = ["SUFFIX", "Checkpoint"]

FORMAT = "pimc-recovery"
VERSION = 2
SUFFIX = ".recovery"

#: Calibration samples by which data are recognised.
_SAMPLES = 64
_HINT = "recover without --resume to start again"
_ESTIMATE = [field.name for field in fields(CellEstimate)]
_CHOSEN = ("chosen.cells", "chosen.levels")


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
        manifest = {
            "job": self._job(bench),
            "done": done,
            "stages": [asdict(stage) for stage in bench.stages],
            "kept": kept_number,
            "round": number,
            "rounds": len(bench.writes),
            "captured": bench.captured is not None,
            "layers": bench.image.manifest["layers"],
            "kept_layers": kept and kept.manifest["layers"],
        }
        tensors: dict[str, Tensor] = {
            **self._changed("image", bench.image),
            **({} if kept is None else self._changed("kept", kept)),
            **dict(zip(_CHOSEN, (cells, levels), strict=True)),
            **{f"writes.{n}": writes for n, writes in enumerate(bench.writes)},
            "generator": bench.generator.get_state().numpy(),
        }
        for index, estimate in bench.estimates.items():
            tensors |= {
                layer_tensor(index, name): _storable(getattr(estimate, name)) for name in _ESTIMATE
            }
        if isinstance(bench.device, Resumable):
            state = bench.device.state()
            tensors |= {f"device.{name}": value for name, value in state.items()}
        container.save(self.path, *container.seal(FORMAT, VERSION, manifest, tensors))

    def load(self, bench: Bench) -> int:
        """Bring the bench, and a device that keeps a state, to where the recovery was cut.

        Returns:
            How many steps were done; 0 where there is no file.

        Raises:
            RecoveryError: the file is damaged, or of another recovery, or the device does not
                hold what it was asked to.
        """
        if not self.path.exists():
            return 0
        manifest, tensors = container.load(self.path, FORMAT, VERSION, RecoveryError)
        if manifest["job"] != self._job(bench):
            differing = ", ".join(
                key for key, value in self._job(bench).items() if manifest["job"].get(key) != value
            )
            raise RecoveryError(f"is of another recovery: {differing}", str(self.path), _HINT)
        bench.image = self._image("image", manifest["layers"], tensors)
        bench.kept = None
        if manifest["kept"] >= 0:
            kept = self._image("kept", manifest["kept_layers"], tensors)
            bench.kept = manifest["kept"], kept
        bench.stages = [Stage(**stage) for stage in manifest["stages"]]
        cells, levels = (tensors[name] for name in _CHOSEN)
        bench.chosen = cells, levels, manifest["round"]
        bench.writes = [tensors[f"writes.{n}"] for n in range(manifest["rounds"])]
        bench.generator.set_state(torch.from_numpy(tensors["generator"].copy()))
        if not manifest["captured"]:
            bench.captured = None
        for index in bench.estimates:
            values = {name: tensors[layer_tensor(index, name)].copy() for name in _ESTIMATE}
            values["present"] = values["present"].astype(np.bool_)
            bench.estimates[index] = CellEstimate(**values)
        if isinstance(bench.device, Resumable):
            bench.device.restore(_under("device.", tensors))
        if bench.device is not None:
            require_kept(bench.image, bench.device, cells, levels)
        return int(manifest["done"])

    def remove(self) -> None:
        """The recovery is done; nothing to resume."""
        self.path.unlink(missing_ok=True)

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

    def _changed(self, prefix: str, image: Image) -> dict[str, Tensor]:
        """What an image holds beside its parent's tensors, by prefixed name."""
        own = self.parent.tensors
        return {
            f"{prefix}.{name}": value
            for name, value in image.tensors.items()
            if name not in own or not np.array_equal(own[name], value)
        }

    def _image(self, prefix: str, layers: object, tensors: Mapping[str, Tensor]) -> Image:
        changed = _under(f"{prefix}.", tensors)
        manifest = {**self.parent.manifest, "layers": layers}
        return Image.build(manifest, {**self.parent.tensors, **changed})


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _storable(values: Tensor) -> Tensor:
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def _recognised(data: Dataset) -> str:
    """A fingerprint of a data set: its length and some of its samples."""
    some = data.subset(np.linspace(0, len(data) - 1, min(_SAMPLES, len(data))).astype(np.int64))
    return f"{len(data)} {sha256_array(some.all())}"
