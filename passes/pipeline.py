"""The pipeline: passes in order, each timed, checked and on request written out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pimc.chip.design import Chip
from pimc.errors import UsageError
from pimc.passes.emit.dump import dump
from pimc.passes.emit.saved import load_chip, load_plan
from pimc.passes.own import is_own, run_own
from pimc.passes.stages import STAGES, Pass, check, number_of
from pimc.plan.records import Plan

__all__ = ["Pass", "load_chip", "load_plan", "run", "run_pass"]


def run(
    plan: Plan,
    chip: Chip,
    passes: Sequence[Pass],
    *,
    dump_dir: Path | None = None,
    stop_after: str | None = None,
    timed: Callable[[str, float], None] = lambda name, seconds: None,
) -> Plan:
    """Run ``passes`` over ``plan``.

    Args:
        dump_dir: where to write the plan after every pass.
        stop_after: name of the last pass to run.
        timed: told each pass's name and seconds.

    Raises:
        UsageError: ``stop_after`` names no pass.
        PlanError: a pass broke a rule.
    """
    dumped = None
    names = [step.name for step in passes]
    if stop_after is not None and stop_after not in names:
        raise UsageError(f"no pass is called {stop_after!r}", hint=f"passes are {', '.join(names)}")
    for number, step in enumerate(passes):
        start = time.perf_counter()
        plan = run_pass(step, plan, chip)
        timed(step.name, time.perf_counter() - start)
        if dump_dir is not None:
            # A pass of one's own may have changed in place what it should have left alone.
            shared = None if is_own(step) else dumped
            dumped = dump(plan, chip, dump_dir / f"{number:02d}-{step.name}", shared)
        if step.name == stop_after:
            break
    return plan


def run_pass(step: Pass, plan: Plan, chip: Chip) -> Plan:
    """Run one pass, one of the compiler's or one of the user's own, and check what it leaves.

    Args:
        plan: of the stage before, or of any later one, whose work is then done again.

    Raises:
        UsageError: the plan lacks what an earlier pass should have done.
        PlanError: the pass broke a rule.
        PimcError: what the pass itself raises.
    """
    if is_own(step):
        return run_own(step, plan, chip)
    needed = [stage for stage in STAGES[: number_of(step.name)] if not stage.optional][-1]
    if number_of(plan.stage) < number_of(needed.name):
        raise UsageError(
            f"needs a plan after {needed.name}, this one is after {plan.stage}", where=step.name
        )
    after = step(plan, chip)
    check(after, chip, plan)
    # Of passes of one's own those count no more that ran after what is now done again.
    number = number_of(step.name)
    kept = tuple(note for note in after.own_passes if number_of(note["after"]) < number)
    return after if kept == after.own_passes else replace(after, own_passes=kept)
