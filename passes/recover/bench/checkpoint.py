"""The checkpoint of a recovery: all that its next step depends on.

One file is replaced as a whole after every step, so a recovery can be cut at any moment: what
was cut is done again from the last step on, and gives the same. Large tensors lie in files beside
it (:mod:`~pimc.passes.recover.bench.parts`) and are written when they change. Of a device that
keeps no state of its own (a chip on the bench) the writes are in it, and are done again where they
were cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pimc.data.dataset import Dataset
from pimc.errors import ImageError, RecoveryError
from pimc.files import container
from pimc.files.container import Tensor, canonical_json
from pimc.files.manifest import read_object
from pimc.files.strict import key
from pimc.image.image import VERSION as IMAGE_VERSION
from pimc.image.image import Image
from pimc.passes.recover.bench.bench import Bench
from pimc.passes.recover.bench.parts import Places, discard, lay, sweep, take
from pimc.passes.recover.bench.state import State
from pimc.passes.recover.bench.stored import restored, stored, under
from pimc.runtime.door.abilities import Resumable
from pimc.runtime.door.program import require_kept

__all__ = ["SUFFIX", "Checkpoint", "discard", "recognised"]

FORMAT = "pimc-recovery"
#: It holds tensors of images: where their format has another version, so has this.
VERSION = 5 + IMAGE_VERSION
#: Earlier versions that are read: that before had all tensors in one file.
READ = frozenset({6, VERSION})
SUFFIX = ".recovery"

#: Calibration samples by which data are recognised.
_SAMPLES = 64
_HINT = "recover without --resume to start again"
#: What says that a state in a checkpoint is none.
_MALFORMED = (ImageError, RecoveryError)


@dataclass(frozen=True)
class CheckpointEntry:
    """The keys of a checkpoint's manifest, but for those that the container adds."""

    job: Mapping[str, str] = field(metadata=key("table", "what must be the same to go on"))
    done: int = field(metadata=key("int", "steps that were done", low=0))
    state: Mapping[str, Any] = field(metadata=key("table", "the state after them"))
    told: Mapping[str, Any] = field(
        default_factory=dict, metadata=key("table", "what the recovery was told when it began")
    )
    parts: Mapping[str, Any] = field(
        default_factory=dict, metadata=key("table", "where large tensors lie: hash and file")
    )


@dataclass(frozen=True)
class Checkpoint:
    """The file of one recovery, and those beside it.

    Attributes:
        path: where it lies; it need not exist.
        parent: the image that the recovery began with.
        strategy: the strategy that is followed.
        told: JSON that is kept with the state, and of no account for it: what was measured before
            the first write, and cannot be measured again.
    """

    path: Path
    parent: Image
    strategy: str
    told: Mapping[str, Any] = field(default_factory=dict)
    _laid: Places = field(default_factory=dict, repr=False, compare=False)

    def save(self, bench: Bench, state: State, done: int) -> None:
        """Note the state after so many steps, whole or not at all.

        Raises:
            UsageError: the file cannot be written.
        """
        note, tensors = stored(state, self.parent)
        everything = {f"state.{name}": value for name, value in tensors.items()}
        if isinstance(bench.device, Resumable):
            held = bench.device.state()
            everything |= {f"device.{name}": value for name, value in held.items()}
        inside, laid = lay(self.path, everything, self._laid.values())
        parts = {name: list(place) for name, place in laid.items()}
        manifest = asdict(CheckpointEntry(self._job(bench), done, note, self.told, parts))
        container.save(self.path, *container.seal(FORMAT, VERSION, manifest, inside))
        self._laid.clear()
        self._laid.update(laid)
        sweep(self.path, {file for _, file in laid.values()})

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
        entry, tensors = self._content()
        job, noted = self._job(bench), entry["job"]
        if noted != job:
            differing = ", ".join(name for name, value in job.items() if noted.get(name) != value)
            raise RecoveryError(f"is of another recovery: {differing}", str(self.path), _HINT)
        try:
            state = restored(entry["state"], under("state.", tensors), self.parent)
            if isinstance(bench.device, Resumable):
                bench.device.restore(under("device.", tensors))
        except (KeyError, TypeError, ValueError, AttributeError, *_MALFORMED) as cause:
            message = f"holds no state of a recovery: {cause or type(cause).__name__}"
            raise RecoveryError(message, str(self.path), _HINT) from cause
        if bench.device is not None:
            require_kept(state.image, bench.device, *state.proposed[:2])
        return int(entry["done"]), state

    def as_told(self) -> Checkpoint:
        """The same checkpoint with what its file was told; as it is where there is no file.

        Raises:
            RecoveryError: the file is damaged.
        """
        if not self.path.exists():
            return self
        return replace(self, told=self._content()[0]["told"])

    @property
    def wrote(self) -> bool:
        """Whether cells were written since the recovery began, or may have been.

        Raises:
            RecoveryError: the file is damaged.
        """
        if not self.path.exists():
            return False
        entry, tensors = self._content()
        try:
            return bool(entry["state"]["writes"]) or len(tensors["state.proposed.cells"]) > 0
        except KeyError as cause:
            message = f"holds no state of a recovery: {cause}"
            raise RecoveryError(message, str(self.path), _HINT) from cause

    def remove(self) -> None:
        """The recovery is done; nothing to resume."""
        discard(self.path)
        self._laid.clear()

    def _content(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The keys of the file's manifest, checked, and the tensors."""
        manifest, tensors = container.load(self.path, FORMAT, VERSION, RecoveryError)
        if manifest["version"] not in READ:
            raise RecoveryError("was begun by an earlier pimc", str(self.path), _HINT)
        entry = read_object(CheckpointEntry, manifest, str(self.path), RecoveryError, _HINT)
        places = self._places(entry.get("parts", {}))
        self._laid.clear()
        self._laid.update(places)
        try:
            return entry, {**tensors, **take(self.path, places)}
        except RecoveryError as cause:
            raise RecoveryError(cause.message, cause.where, _HINT) from cause

    def _places(self, parts: Mapping[str, Any]) -> Places:
        """Where large tensors lie."""
        places: Places = {}
        for name, place in parts.items():
            if not (isinstance(place, list) and [type(word) for word in place] == [str, str]):
                message = f"parts: {name}: must be a hash and a file"
                raise RecoveryError(message, str(self.path), _HINT)
            places[name] = place[0], place[1]
        return places

    def _job(self, bench: Bench) -> dict[str, str]:
        """What must be the same for a recovery to go on."""
        options = canonical_json(asdict(bench.options))
        return {
            "image": self.parent.sha256,
            "die": bench.device.name if bench.device is not None else "",
            "strategy": self.strategy,
            "options": hashlib.sha256(options.encode()).hexdigest(),
            "calibration data": recognised(bench.train),
        }


def recognised(data: Dataset) -> str:
    """A fingerprint of a data set: its length and some of its samples."""
    some = data.subset(np.linspace(0, len(data) - 1, min(_SAMPLES, len(data))).astype(np.int64))
    return f"{len(data)} {some.fingerprint()}"
