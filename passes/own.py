"""Passes of one's own: where they run among the compiler's, and how they are found and held.

A package names such a pass with an entry point of the group ``pimc.passes``: a frozen dataclass
with ``name`` and ``__call__(plan, chip)`` that is made without arguments, and with ``after``, the
stage that it follows where a user does not say otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from pimc.chip.design import Chip
from pimc.errors import PimcError, PlanError, UsageError
from pimc.files.entry_points import Extensions
from pimc.files.writing.atomic import sha256_array
from pimc.passes.stages import STAGES, Choices, Pass, check, number_of
from pimc.plan.records import Plan

__all__ = ["ENTRY_POINT_GROUP", "OwnPasses", "installed_passes", "is_own", "passes_for", "run_own"]

ENTRY_POINT_GROUP = "pimc.passes"
_INSTALLED = Extensions(ENTRY_POINT_GROUP, "pass")
_STAGE_NAMES = frozenset(stage.name for stage in STAGES)
#: Names of passes become names of folders.
_NAME = re.compile(r"[A-Za-z][\w.-]*")

#: Stages, and the passes that follow each.
OwnPasses: TypeAlias = Mapping[str, Sequence[Pass]]


def passes_for(plan: Plan, choices: Choices, own: OwnPasses | None = None) -> list[Pass]:
    """The passes that are yet to run on ``plan``, in order: the compiler's with the user's between.

    Raises:
        UsageError: a stage that there is not, a pass that cannot be one or has a name in use, or
            one that would have to run before what has been done already.
    """
    following = _following(own or {})
    done, reached = {note["name"] for note in plan.own_passes}, number_of(plan.stage)
    found: list[Pass] = []
    for number, stage in enumerate(STAGES):
        made = stage.make(choices) if number > reached else None
        found += [] if made is None else [made]
        waiting = [step for step in following.get(stage.name, ()) if step.name not in done]
        if waiting and number < reached:
            raise UsageError(
                f"cannot run after {stage.name}: the plan is past it, after {plan.stage}",
                where=waiting[0].name,
                hint="start from an earlier plan",
            )
        found += waiting
    return found


def _following(own: OwnPasses) -> OwnPasses:
    """The same once it has been looked at."""
    taken: set[str] = set(_STAGE_NAMES)
    for stage, steps in own.items():
        number_of(stage)
        if not isinstance(steps, Sequence):
            raise UsageError(
                "not a sequence of passes", where=stage, hint=f'give {{"{stage}": [the_pass]}}'
            )
        for step in steps:
            _look_at(step)
            if step.name in taken:
                raise UsageError(
                    "another pass has this name", where=step.name, hint="choose another name"
                )
            taken.add(step.name)
    return own


def _look_at(step: object) -> None:
    """Refuse what is no pass."""
    name = getattr(step, "name", None)
    if isinstance(step, type):
        raise UsageError(
            "is a class, not a pass", where=step.__name__, hint=f"give {step.__name__}()"
        )
    if not callable(step) or not isinstance(name, str):
        raise UsageError(
            f"a {type(step).__name__} is no pass",
            hint="a pass has a name and is called with a plan and a chip",
        )
    if not _NAME.fullmatch(name):
        raise UsageError(
            "not a pass's name", where=repr(name), hint="use letters, digits, points and dashes"
        )


def is_own(step: Pass) -> bool:
    """Whether it is none of the compiler's passes."""
    return step.name not in _STAGE_NAMES


def run_own(step: Pass, plan: Plan, chip: Chip) -> Plan:
    """The plan after a user's pass; it stays in the stage it was in, and notes the pass.

    Raises:
        PlanError: the pass failed, or broke a rule of the stages so far.
    """
    try:
        after: object = step(plan, chip)
    except PimcError:
        raise
    except Exception as cause:  # whatever a foreign pass does
        raise PlanError(
            f"the pass failed: {str(cause) or type(cause).__name__}",
            where=step.name,
            hint="mend the pass, or leave it out; PIMC_DEBUG=1 shows where it failed",
        ) from cause
    if not isinstance(after, Plan):
        raise PlanError(
            f"the pass returned {type(after).__name__}, not a Plan",
            where=step.name,
            hint="return dataclasses.replace(plan, …)",
        )
    note = {"name": step.name, "after": plan.stage, "options": dict(_options(step))}
    after = replace(after, stage=plan.stage, own_passes=(*plan.own_passes, note))
    # All of it: such a pass may have changed in place what it should have left as it was.
    check(after, chip, own=step.name)
    return after


def _options(step: Pass) -> Iterator[tuple[str, Any]]:
    if is_dataclass(step):
        yield from ((each.name, _plain(getattr(step, each.name))) for each in fields(step))


def _plain(value: Any) -> Any:
    """A JSON value that is the same for equal options."""
    if isinstance(value, np.ndarray):
        return sha256_array(value)
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        entries = [_plain(entry) for entry in value]
        return sorted(entries, key=repr) if isinstance(value, set | frozenset) else entries
    if isinstance(value, float) and not np.isfinite(value):
        return repr(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return type(value).__name__


def installed_passes(texts: Sequence[str]) -> dict[str, list[Pass]]:
    """Passes of installed packages, by the stage that they follow.

    Args:
        texts: ``NAME`` or ``NAME:after=STAGE`` each.

    Raises:
        UsageError: one of them is not understood, not installed, or cannot be made.
    """
    found: dict[str, list[Pass]] = {}
    for text in texts:
        stage, step = _installed(text)
        found.setdefault(stage, []).append(step)
    return found


def _installed(text: str) -> tuple[str, Pass]:
    """The stage and the pass that ``NAME`` or ``NAME:after=STAGE`` means.

    Raises:
        UsageError: no package has such a pass, it cannot be made, or nobody says where it goes.
    """
    name, _, place = text.partition(":")
    key, _, stage = place.partition("=")
    if place and (key != "after" or not stage):
        raise UsageError("not understood", where=text, hint="write NAME or NAME:after=STAGE")
    made = _INSTALLED.load(name)
    try:
        step = made()
    except Exception as cause:  # whatever a foreign class does
        raise UsageError(
            f"the pass cannot be made: {str(cause) or type(cause).__name__}",
            where=name,
            hint="its class must take no arguments",
        ) from cause
    _look_at(step)
    stage = stage or getattr(step, "after", "")
    if not stage:
        raise UsageError(
            "the pass does not say where it goes", where=name, hint=f"write {name}:after=STAGE"
        )
    number_of(stage)
    return stage, step
