"""Images, dies, captures and checkpoints of recoveries."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from pimc.errors import PimcError
from pimc.files import container
from pimc.image.image import Image
from pimc.image.summary import summarize
from pimc.passes.recover.bench import checkpoint as recovery_format
from pimc.passes.recover.bench.bench import Bench
from pimc.passes.recover.bench.checkpoint import Checkpoint
from pimc.passes.recover.bench.common import Common
from pimc.passes.recover.bench.state import State
from pimc.progress import silent
from pimc.runtime.capture import Capture
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program
from pimc.runtime.door.replay import ReplayDevice
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from pimc.studies.golden.verify import verify_drawn
from tests.fuzz.oracle import Mutate, Target
from tests.fuzz.raw import damaged
from tests.fuzz.resealed import resealed, with_other_header
from tests.released import write_samples

__all__ = ["MAKERS"]

_FILES = Path(write_samples.__file__).parent
_KINDS: Mapping[str, Mutate] = {
    "raw": damaged,
    "header": with_other_header,
    "resealed": resealed,
}
_X = write_samples.inputs(2, 5)


def _bytes(name: str) -> bytes:
    return (_FILES / name).read_bytes()


def _npy(count: int) -> bytes:
    stream = io.BytesIO()
    np.save(stream, write_samples.inputs(count, 1))
    return stream.getvalue()


@cache
def _image() -> Image:
    return Image.load(_FILES / "image-2" / "tiny.pimc")


def _die() -> Die:
    return Die.load(_FILES / "image-2" / "tiny.die")


def _read_image(path: Path) -> None:
    image = Image.load(path)
    summarize(image)
    program(image, SimDevice(Die.simulated(3), image.chip, image.arrays))


def _run_image(path: Path) -> None:
    image = Image.load(path)
    session = Session(image, die=Die.simulated(3))
    session.run(None, {session.get_inputs()[0].name: _X})
    verify_drawn(image, 1, 0)


def _image_target() -> Target:
    return Target(
        "image",
        "model.pimc",
        frozenset({2}),
        [_bytes("image-2/tiny.pimc"), _bytes("image-2/tiny.r1.pimc")],
        _KINDS,
        _read_image,
        lambda path: ["info", path, "--explain"],
        _run_image,
    )


def _read_die(path: Path) -> None:
    die, image = Die.load(path), _image()
    die.age(5.0)
    die.held_us(np.arange(die.cells.level.size))
    if die.attached().fingerprint == image.chip.fingerprint:
        program(image, SimDevice(die, image.chip, image.arrays))


def _run_die(path: Path) -> None:
    die, image = Die.load(path), _image()
    if die.attached().fingerprint != image.chip.fingerprint:
        return
    (y,) = Session(image, die=die).run(None, {"x": _X})
    if not np.isfinite(y).all():
        raise AssertionError("outputs that are no numbers")


def _die_target() -> Target:
    return Target(
        "die",
        "chip.die",
        frozenset({3}),
        [_bytes("image-2/tiny.die"), _bytes("before-0.1.0/first.die")],
        _KINDS,
        _read_die,
        lambda path: ["age", "1h", "--die", path],
        _run_die,
    )


def _read_capture(path: Path) -> None:
    image = _image()
    captured = Capture.load(path, image)
    ReplayDevice(image, captured)


def _capture_target() -> Target:
    return Target(
        "capture",
        "tiny.pimccap",
        frozenset({2}),
        [_bytes("image-2/tiny.pimccap")],
        _KINDS,
        _read_capture,
        lambda path: ["recover", "tiny.pimc", "--calib", ".", "--since", "none.json"],
        beside={"tiny.pimc": _bytes("image-2/tiny.pimc"), "calib.npy": _npy(16)},
    )


@dataclass(frozen=True)
class _OfThisJob(Checkpoint):
    """A checkpoint whose job is that of the sample, whatever options there are by now."""

    def _job(self, bench: Bench) -> dict[str, str]:
        return _job()


@cache
def _job() -> dict[str, str]:
    path = _FILES / "checkpoint-6" / "tiny.recovery"
    content = container.load(path, recovery_format.FORMAT, recovery_format.VERSION, PimcError)
    job: dict[str, str] = content[0]["job"]
    return job


@cache
def _bench() -> Bench:
    image = _image()
    data, options = write_samples.calibration(), write_samples.OPTIONS
    device = Session(image, die=_die()).device
    return Bench.of(image, device, None, data, options, Common(), silent)


def _read_checkpoint(path: Path) -> None:
    image = _image()
    first = State.first(image, write_samples.OPTIONS.seed)
    _, state = _OfThisJob(path, image, "selective").load(_bench(), first)
    summarize(state.image)
    state.all_writes()


def _checkpoint_target() -> Target:
    return Target(
        "checkpoint",
        "tiny.r1.recovery",
        frozenset({2, 3}),
        [_bytes("checkpoint-6/tiny.recovery")],
        _KINDS,
        _read_checkpoint,
        lambda path: [
            "recover", "tiny.pimc", "--calib", "calib.npy", "-o", "tiny.r1.pimc", "--die",
            "tiny.die", "--resume",
        ],
        beside={
            "tiny.pimc": _bytes("image-2/tiny.pimc"),
            "tiny.die": _bytes("image-2/tiny.die"),
            "calib.npy": _npy(32),
        },
    )  # fmt: skip


MAKERS = {
    "image": _image_target,
    "die": _die_target,
    "capture": _capture_target,
    "checkpoint": _checkpoint_target,
}
