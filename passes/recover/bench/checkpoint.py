"""The checkpoint of a recovery: all that its next step depends on, in one file.

The file is replaced as a whole after every step, so a recovery can be cut at any moment: what
was cut is done again from the last step on, and gives the same. Of a device that keeps no state
of its own (a chip on the bench) the writes are in it, and are done again where they were cut.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pimc.data.dataset import Dataset
from pimc.errors import ImageError, RecoveryError
from pimc.files import container
from pimc.files.atomic import sha256_array
from pimc.files.container import canonical_json
from pimc.image.image import VERSION as IMAGE_VERSION
from pimc.image.image import Image
from pimc.passes.recover.bench.bench import Bench
from pimc.passes.recover.bench.state import State
from pimc.passes.recover.bench.stored import restored, stored, under
from pimc.runtime.door.abilities import Resumable
from pimc.runtime.door.program import require_kept

__all__ = ["SUFFIX", "Checkpoint"]

FORMAT = "pimc-recovery"
#: It holds tensors of images: where their format has another version, so has this.
VERSION = 3 + IMAGE_VERSION
SUFFIX = ".recovery"

#: Calibration samples by which data are recognised.
_SAMPLES = 64
_HINT = "recover without --resume to start again"


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

    def save(self, bench: Bench, state: State, done: int) -> None:
        """Note the state after so many steps, whole or not at all.

        Raises:
            UsageError: the file cannot be written.
        """
        note, tensors = stored(state, self.parent)
        manifest = {"job": self._job(bench), "done": done, "state": note}
        everything = {f"state.{name}": value for name, value in tensors.items()}
        if isinstance(bench.device, Resumable):
            held = bench.device.state()
            everything |= {f"device.{name}": value for name, value in held.items()}
        container.save(self.path, *container.seal(FORMAT, VERSION, manifest, everything))

    def load(self, bench: Bench, first: State) -> tuple[int, State]:
        """Bring a device that keeps a state to where the recovery was cut.

        Args:
            first: the state before any step.

        Returns:
            How many steps were done, and the state after them; ``first`` where there is no file.

        Raises:
            RecoveryError: the file is damaged, of another recovery, or of an earlier pimc, or the
                device does not hold what it was asked to.
        """
        if not self.path.exists():
            return 0, first
        manifest, tensors = container.load(self.path, FORMAT, VERSION, RecoveryError)
        if manifest["version"] != VERSION:
            raise RecoveryError("was begun by an earlier pimc", str(self.path), _HINT)
        job = self._job(bench)
        if manifest["job"] != job:
            differing = ", ".join(
                key for key, value in job.items() if manifest["job"].get(key) != value
            )
            raise RecoveryError(f"is of another recovery: {differing}", str(self.path), _HINT)
        try:
            state = restored(manifest["state"], under("state.", tensors), self.parent)
        except (KeyError, TypeError, ValueError, AttributeError, ImageError) as cause:
            message = f"holds no state of a recovery: {cause or type(cause).__name__}"
            raise RecoveryError(message, str(self.path), _HINT) from cause
        if isinstance(bench.device, Resumable):
            bench.device.restore(under("device.", tensors))
        if bench.device is not None:
            require_kept(state.image, bench.device, *state.proposed[:2])
        return int(manifest["done"]), state

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


def _recognised(data: Dataset) -> str:
    """A fingerprint of a data set: its length and some of its samples."""
    some = data.subset(np.linspace(0, len(data) - 1, min(_SAMPLES, len(data))).astype(np.int64))
    return f"{len(data)} {sha256_array(some.all())}"
