"""Judging: what an image is worth on held-out data, on the chip or, without one, in the twin."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import torch

from pimc.passes.recover.bench.bench import Bench
from pimc.passes.recover.bench.state import Kept, State
from pimc.passes.recover.recovery import Stage
from pimc.passes.recover.train.trainer import Best
from pimc.passes.recover.twin.goal import error_of_mean
from pimc.passes.recover.watch.network import network_outputs

__all__ = ["as_good_as_perfect", "clear_change", "enough", "judge", "measured"]

#: Standard errors of a difference beyond which it is taken for one.
_BY_CHANCE = 2.0


def judge(bench: Bench, state: State, name: str, written: int = 0) -> State:
    """Measure the present image and note it as a stage.

    Args:
        name: of the stage.
        written: cells that were written on the way to it.

    Raises:
        DeviceError: the chip failed.
    """
    return state.judged(*measured(bench, state, name, written))


def measured(
    bench: Bench, state: State, name: str, written: int = 0
) -> tuple[Stage, npt.NDArray[np.float32]]:
    """What the present image is worth, and the loss of every held-out sample.

    The arguments and errors are those of :func:`judge`.
    """
    session = bench.session(state)
    watch = bench.features.watch(bench.array(state) or session.array)
    found = network_outputs(session, bench.held_out, bench.progress, "judging", watch)
    loss = float(bench.goal.loss(found, bench.wanted))
    same = bench.goal.agreement(found, bench.wanted)
    errors = watch.errors()
    seconds = time.perf_counter() - state.clock
    each, away = bench.goal.each(found, bench.wanted), None
    if state.least is not None and len(state.least.each) == len(each):
        away = error_of_mean(each - torch.from_numpy(state.least.each))
    stage = Stage(name, loss, same, written, seconds, errors, error_of_mean(each), away)
    return stage, each.numpy()


def clear_change(
    kept: Best[Kept] | None, stage: Stage, each: npt.NDArray[np.float32]
) -> int | None:
    """Whether a stage is better (1) or worse (-1) than what was kept, not by chance of the samples.

    Args:
        each: (samples,) losses of the held-out samples at this stage.

    Returns:
        0 where it is neither, None where single samples are not known.
    """
    if kept is None or len(kept.value.each) != len(each):
        return None
    error = error_of_mean(torch.from_numpy(each - kept.value.each))
    if error is None:
        return None
    gain, limit = kept.loss - stage.loss, _BY_CHANCE * error
    return int(gain > limit) - int(gain < -limit)  # 0 where a loss is not a number


def enough(bench: Bench, state: State) -> bool:
    """Whether the present cells serve as well as was asked for."""
    limit = bench.options.enough
    return limit is not None and state.kept is not None and state.kept.loss <= limit


def as_good_as_perfect(bench: Bench, state: State) -> bool:
    """Whether the present cells serve as well as perfect ones, within a standard error of these."""
    floor, kept = bench.floor, state.kept
    if floor is None or floor.loss_error is None or kept is None:
        return False
    return kept.loss <= floor.loss + floor.loss_error
