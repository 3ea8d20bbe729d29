"""The recovery loop: judge the die, follow a strategy, keep what served held-out data best."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from pimc.data.dataset import Dataset
from pimc.image.image import Image, RecoveryNote
from pimc.passes.recover.bench import Bench, source
from pimc.passes.recover.checkpoint import Checkpoint
from pimc.passes.recover.findings import findings
from pimc.passes.recover.floor import floor_of
from pimc.passes.recover.knowing import fit_columns
from pimc.passes.recover.options import Floor, RecoverOptions, Recovery
from pimc.passes.recover.steps import Step
from pimc.passes.recover.strategies import DEFAULT, strategy_named
from pimc.progress import Progress, silent
from pimc.runtime.capture import Capture
from pimc.runtime.door.device import Device


def recover(
    image: Image,
    device: Device | None,
    data: Dataset,
    options: RecoverOptions | None = None,
    *,
    strategy: str = DEFAULT,
    captured: Capture | None = None,
    checkpoint: Checkpoint | None = None,
    announce: Callable[[Floor], None] | None = None,
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
        strategy: one of :func:`~pimc.passes.recover.strategies.strategies`.
        captured: a capture taken of this image; else one is taken.
        checkpoint: where the state is noted after every step, and taken up from if it is there.
        announce: told what no recovery can pass, before anything is written.

    Raises:
        UsageError: neither a device nor a capture, no such strategy, or one that needs the chip
            where only a capture is at hand.
        CaptureError: the capture is of another die.
        RecoveryError: the checkpoint is damaged, or of another recovery.
        ImageError: the image holds no float weights to distill from.
        DataError: there are too few calibration samples.
        ModelError: gradients cannot reach a layer.
        DeviceError: the chip failed.
    """
    start = time.perf_counter()
    die = source(device, captured)
    recipe = strategy_named(strategy, chip=device is not None)
    bench = Bench.of(image, device, captured, data, options or RecoverOptions(), progress)
    floor = floor_of(bench)
    if announce is not None:
        announce(floor)
    steps = (_judge_first, *_cheap_first(bench), *recipe.steps(bench.options, chip=bench.has_chip))
    done = checkpoint.load(bench) if checkpoint is not None else 0
    for number, step in enumerate(steps[done:], done + 1):
        if bench.enough():
            break
        step(bench)
        if checkpoint is not None:
            checkpoint.save(bench, number)
    bench.keep_best()
    writes = bench.all_writes()
    found = bench.image.with_recovery(
        RecoveryNote(
            parent=image.sha256,
            die=die,
            strategy=recipe.name,
            cells_rewritten=len(writes),
            rounds=int(writes[:, 3].max(initial=0)),
        )
    )
    seconds = time.perf_counter() - start
    identified = any((e.mean_us != e.target_us).any() for e in bench.estimates.values())
    return Recovery(
        strategy=recipe.name,
        floor=floor,
        image=found,
        writes=writes,
        stages=tuple(bench.stages),
        seconds=seconds,
        measured=device is not None,
        findings=findings(found, bench.estimates) if identified else None,
        record="codes" if captured is None else captured.record,
    )


def _cheap_first(bench: Bench) -> Sequence[Step]:
    """Gains and offsets alone, where it is known what is enough and they may reach it."""
    return (fit_columns,) if bench.options.enough is not None and bench.has_chip else ()


def _judge_first(bench: Bench) -> None:
    # Without the chip there is nothing to judge before something is known of it.
    if bench.has_chip:
        bench.judge("as programmed")
