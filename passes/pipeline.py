"""The pipeline: passes in order, each timed, checked and on request written out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from pimc.chip.design import Chip
from pimc.errors import UsageError
from pimc.passes.emit.dump import dump
from pimc.plan import rules
from pimc.plan.records import Plan


class Pass(Protocol):
    """One step of the compiler: a frozen dataclass whose fields are its options."""

    @property
    def name(self) -> str:
        """The stage the plan is in afterwards."""
        ...

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """The plan with this step's part filled in; the input is left as it was."""
        ...


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
    names = [step.name for step in passes]
    if stop_after is not None and stop_after not in names:
        raise UsageError(f"no pass is called {stop_after!r}", hint=f"passes are {', '.join(names)}")
    for number, step in enumerate(passes):
        start = time.perf_counter()
        before, plan = plan, step(plan, chip)
        rules.check(plan, chip, before)
        timed(step.name, time.perf_counter() - start)
        if dump_dir is not None:
            dump(plan, chip, dump_dir / f"{number:02d}-{step.name}")
        if step.name == stop_after:
            break
    return plan
