"""The recovery loop: judge the die, follow a strategy, keep what served held-out data best."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pimc.data.dataset import Dataset
from pimc.image.image import Image, RecoveryNote
from pimc.passes.recover.bench.bench import Bench, Step, source
from pimc.passes.recover.bench.checkpoint import Checkpoint
from pimc.passes.recover.bench.common import Common
from pimc.passes.recover.bench.floor import floor_of
from pimc.passes.recover.bench.judge import enough, judge
from pimc.passes.recover.bench.state import State
from pimc.passes.recover.bench.verdict import verdict_of
from pimc.passes.recover.know.findings import findings
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Floor, Recovery
from pimc.passes.recover.steps.correcting import fit_columns
from pimc.passes.recover.strategies import DEFAULT, strategy_named
from pimc.passes.recover.train.harden import HardenedCache
from pimc.progress import Progress, silent
from pimc.runtime.capture import Capture
from pimc.runtime.door.device import Device
from pimc.work.memory import Memory
from pimc.work.threads import blas_on_one

__all__ = ["recover"]


@blas_on_one()
def recover(
    image: Image,
    device: Device | None,
    data: Dataset,
    options: RecoverOptions | None = None,
    *,
    strategy: str = DEFAULT,
    captured: Capture | None = None,
    checkpoint: Checkpoint | None = None,
    hardened: HardenedCache | None = None,
    common: Common | None = None,
    announce: Callable[[Floor], None] | None = None,
    memory: int | str | Memory | None = None,
    progress: Progress = silent,
) -> Recovery:
    """Bring a programmed chip back to the float network's accuracy.

    Only the device's writes and reads are used; nothing is known of what its cells hold but
    what their columns return.

    Args:
        image: the image that the device holds.
        device: the chip. None where only a capture is at hand: then the twin stands in for it,
            and the writes are proposed in one round instead of being done and looked at.
        data: calibration inputs; labels are not used.
        options: what may be done; the defaults if None.
        strategy: one of :func:`~pimc.passes.recover.strategies.strategies`.
        captured: a capture taken of this image; else one is taken.
        checkpoint: where the state is noted after every step, and taken up from if it is there.
        hardened: hand the same one to the recoveries of several dies, and strategies that train
            before anything is written train once for all of them.
        common: hand the same one to the recoveries of several dies, and all that depends on no die
            is worked out once; ``hardened`` is part of it.
        announce: told what no recovery can pass, before anything is written.
        memory: bytes that the process may hold, or a size such as ``4G``; half of what the
            machine has if None. What is worked out does not depend on it.
        progress: told of long work.

    Raises:
        UsageError: neither a device nor a capture, no such strategy, or one that needs the chip
            where only a capture is at hand; the memory is too little for the smallest step.
        CaptureError: the capture is of another die.
        RecoveryError: the checkpoint is damaged, or of another recovery.
        ImageError: the image holds no float weights to distill from.
        DataError: there are too few calibration samples.
        ModelError: gradients cannot reach a layer.
        DeviceError: the chip failed.
    """
    start = time.perf_counter()
    die, options = source(device, captured), options or RecoverOptions()
    recipe = strategy_named(strategy, chip=device is not None)
    if common is None:
        common = Common() if hardened is None else Common(hardened)
    bench = Bench.of(image, device, captured, data, options, common, progress, Memory.of(memory))
    began = time.perf_counter()
    floor = common.once("floor", lambda: floor_of(bench, image))
    if announce is not None:
        announce(floor)
    bench = replace(bench, floor=floor)
    bench.memory.tidy()
    # After the floor, whose dies are large.
    state = replace(State.first(image, options.seed), clock=began)
    steps = (_judge_first, *_cheap_first(bench), *recipe.steps(options, chip=bench.has_chip))
    done = 0
    if checkpoint is not None:
        done, state = checkpoint.load(bench, state)
    # A step alone holds the state before it, so that estimates go as new ones come.
    states = [state]
    del state
    for number, step in enumerate(steps[done:], done + 1):
        if enough(bench, states[0]):
            break
        states.append(step(bench, states.pop()))
        bench.memory.tidy()
        if checkpoint is not None:
            checkpoint.save(bench, states[0], number)
    (state,) = states
    state, writes = state.keeping_best(), state.all_writes()
    found = state.image.with_recovery(
        RecoveryNote(
            parent=image.sha256,
            die=die,
            strategy=recipe.name,
            cells_rewritten=len(writes),
            rounds=int(writes[:, 3].max(initial=0)),
        )
    )
    seconds = time.perf_counter() - start
    identified = any((e.mean_us != e.target_us).any() for e in state.estimates.values())
    named = findings(found, state.estimates) if identified else None
    return Recovery(
        strategy=recipe.name,
        floor=floor,
        image=found,
        writes=writes,
        stages=state.stages,
        seconds=seconds,
        measured=device is not None,
        basis=bench.basis,
        verdict=verdict_of(found, options, floor, bench.basis, state.stages, named, len(writes)),
        findings=named,
        record="codes" if captured is None else captured.record,
    )


def _cheap_first(bench: Bench) -> Sequence[Step]:
    """Gains and offsets alone, where it is known what is enough and they may reach it."""
    return (fit_columns,) if bench.options.enough is not None and bench.has_chip else ()


def _judge_first(bench: Bench, state: State) -> State:
    # Without the chip there is nothing to judge before something is known of it.
    return judge(bench, state, "as programmed") if bench.has_chip else state
