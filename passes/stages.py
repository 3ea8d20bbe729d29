"""The stages of the compiler, stated once: their order, their passes, what holds after each.

The pipeline, the checks, what is dumped and timed, the places for passes of one's own and the
table in ``docs/passes.md`` are views of :data:`STAGES`. A new pass is its file and its row here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from pimc.chip.design import Chip
from pimc.chip.fault_map import FaultMap
from pimc.errors import PlanError, UsageError
from pimc.files.strict import did_you_mean
from pimc.passes.array.partition import Partition
from pimc.passes.equalize.equalize import Equalize
from pimc.passes.equalize.row_groups import RowGroups
from pimc.passes.graph.frontend import load_model
from pimc.passes.layout.map_cells import MapCells
from pimc.passes.layout.pack import Pack
from pimc.passes.layout.place import Placement
from pimc.passes.layout.replicate import Replicate
from pimc.passes.layout.schedule import Scheduling
from pimc.passes.layout.tile import Tiling
from pimc.passes.lower.lowering import Lower
from pimc.passes.options import Options
from pimc.passes.quantize.learn import Learner, LearnRounding
from pimc.passes.quantize.quantize import Calibration, Quantize
from pimc.passes.quantize.settle import Settle
from pimc.passes.rotate.rotate import Rotate
from pimc.passes.simplify.simplify import Simplify
from pimc.plan import rules
from pimc.plan.records import Plan
from pimc.plan.rules import PlanRule

__all__ = ["STAGES", "Choices", "Pass", "Rules", "Stage", "check", "markdown", "number_of"]

#: Rules, and the parts of the plan that each looks at.
Rules: TypeAlias = Mapping[PlanRule, tuple[str, ...]]


class Pass(Protocol):
    """One step of the compiler: a frozen dataclass whose fields are its options."""

    @property
    def name(self) -> str:
        """What users call it; of the compiler's own passes the stage."""
        ...

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """The plan with this step's part filled in; the input is left as it was."""
        ...


@dataclass(frozen=True)
class Choices:
    """All that the compiler's passes are made of.

    Attributes:
        calibration: how to run the network on calibration data; None without data.
        faults: known faults of the die; None without.
        learner: how to train what the quantizer chose; None without data.
    """

    options: Options = field(default_factory=Options)
    calibration: Calibration | None = field(default=None, repr=False)
    faults: FaultMap | None = field(default=None, repr=False)
    learner: Learner | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Stage:
    """A row of the table.

    Attributes:
        name: the stage a plan is in afterwards.
        by: the pass, or the function that reads the model, which comes before all passes.
        make: the pass for a user's choices; None where these leave it out.
        rules: what holds from here on.
        optional: choices may leave it out.
    """

    name: str
    by: Callable[..., Any]
    make: Callable[[Choices], Pass | None] = field(repr=False)
    rules: Rules = field(default_factory=dict, repr=False)
    optional: bool = False


def _partition(choices: Choices) -> Partition:
    options = choices.options
    return Partition(options.all_digital, options.array_only, options.on_array)


def _replicate(choices: Choices) -> Replicate | None:
    options = choices.options
    if options.copies is None:
        return None
    return Replicate(options.copies, options.all_digital, options.array_only, options.on_array)


def _equalize(choices: Choices) -> Equalize | None:
    if choices.calibration is None or not choices.options.equalize:
        return None
    return Equalize(choices.calibration, choices.options.counted(calibrated=True))


def _split(choices: Choices) -> RowGroups | None:
    if not choices.options.split_rows:
        return None
    if choices.calibration is None:
        raise UsageError("rows are split by calibration data, and there are none")
    return RowGroups(choices.calibration)


def _quantize(choices: Choices) -> Quantize:
    counted = choices.options.counted(calibrated=choices.calibration is not None)
    options = choices.options
    return Quantize(choices.calibration, options.feedback, counted, adc_range=options.adc_range)


def _learn(choices: Choices) -> LearnRounding | None:
    if not choices.options.learn_rounding:
        return None
    if choices.learner is None:
        raise UsageError(
            "learned rounding needs calibration data", hint="give --calib, in Python calib"
        )
    if choices.faults is not None:
        raise UsageError(
            "weights that settle around known faults are not those that were learned",
            hint="leave out learned rounding, or the faults",
        )
    return LearnRounding(choices.learner)


def _map_cells(choices: Choices) -> MapCells:
    return MapCells(choices.faults, settled=_settle(choices) is not None)


def _settle(choices: Choices) -> Settle | None:
    if choices.faults is None or choices.calibration is None:
        return None
    options = choices.options
    return Settle(
        choices.faults,
        choices.calibration,
        options.feedback,
        options.counted(calibrated=True),
        options.adc_range,
    )


STAGES: tuple[Stage, ...] = (
    Stage("frontend", load_model, lambda _: None, {rules.values_are_defined: ("graph",)}),
    Stage("simplify", Simplify, lambda _: Simplify()),
    Stage("lower", Lower, lambda _: Lower()),
    Stage("replicate", Replicate, _replicate, optional=True),
    Stage(
        "partition",
        Partition,
        _partition,
        {
            rules.names_are_unique: ("layers",),
            rules.nodes_match_layers: ("graph", "layers"),
            rules.weights_have_their_shape: ("layers",),
        },
    ),
    Stage("rotate", Rotate, lambda c: Rotate() if c.options.rotate else None, optional=True),
    Stage("equalize", Equalize, _equalize, optional=True),
    Stage("split", RowGroups, _split, optional=True),
    Stage(
        "quantize",
        Quantize,
        _quantize,
        {
            rules.layers_are_quantized: ("layers", "quantized"),
            rules.codes_are_in_the_codebook: ("layers", "quantized"),
            rules.ranges_are_positive: ("layers", "quantized"),
        },
    ),
    Stage("learn", LearnRounding, _learn, optional=True),
    Stage(
        "tile",
        Tiling,
        lambda _: Tiling(),
        {rules.tiles_cover_layers: ("layers", "tiles"), rules.tiles_fit_arrays: ("tiles",)},
    ),
    Stage(
        "pack",
        Pack,
        lambda choices: Pack(choices.options.packing, choices.options.phases),
        {
            rules.tiles_have_places: ("tiles", "places"),
            rules.places_do_not_overlap: ("tiles", "places", "arrays"),
            rules.phases_follow_each_other: ("arrays", "phases"),
        },
    ),
    Stage(
        "place",
        Placement,
        lambda _: Placement(),
        {rules.phases_fit_the_chip: ("arrays", "phases")},
    ),
    Stage(
        "cells",
        MapCells,
        _map_cells,
        {
            rules.tiles_have_lines: ("tiles", "lines"),
            rules.lines_are_distinct: ("tiles", "places", "arrays", "lines"),
        },
    ),
    Stage("settle", Settle, _settle, optional=True),
    Stage(
        "schedule",
        Scheduling,
        lambda _: Scheduling(),
        {rules.every_tile_is_read_once: ("tiles", "schedule")},
    ),
)


def number_of(name: str) -> int:
    """Place of a stage in the table.

    Raises:
        UsageError: there is none of this name.
    """
    names = [stage.name for stage in STAGES]
    if name not in names:
        known = ", ".join(names)
        raise UsageError(
            f"no such stage{did_you_mean(name, names)}", where=name, hint=f"stages are {known}"
        )
    return names.index(name)


def check(plan: Plan, chip: Chip, since: Plan | None = None, own: str | None = None) -> None:
    """Check the rules of the plan's stage and of all before it.

    Args:
        since: an earlier plan that was checked: what has not changed since is not looked at again.
        own: the user's pass that ran last, if it was one.

    Raises:
        PlanError: a rule is broken; the error names the pass, the rule and the places.
    """
    checked = -1 if since is None else number_of(since.stage)
    for number, stage in enumerate(STAGES[: number_of(plan.stage) + 1]):
        for rule, parts in stage.rules.items():
            same = all(getattr(plan, part) is getattr(since, part, None) for part in parts)
            if number > checked or not same:
                _hold(rule, plan, chip, own)


def _hold(rule: PlanRule, plan: Plan, chip: Chip, own: str | None) -> None:
    failure: Exception | None = None
    try:
        broken = list(rule(plan, chip))
    except Exception as cause:  # a plan may be so broken that it cannot even be looked at
        broken, failure = [f"{type(cause).__name__}: {cause}"], cause
    if broken:
        raise PlanError(
            f"after {own or plan.stage}: it does not hold that {rule.__doc__}",
            where=", ".join(broken[:5]),
            hint=f"mend the pass {own}" if own else "this is a mistake in pimc; please report it",
        ) from failure


def markdown() -> str:
    """The stages as a Markdown table, for the documentation."""
    lines = ["| stage | file | what it does | what holds from then on |", "|---|---|---|---|"]
    for stage in STAGES:
        path = stage.by.__module__.removeprefix("pimc.").replace(".", "/")
        text = (inspect.getdoc(stage.by) or "").partition("\n\n")[0]
        does = " ".join(text.split()).partition(". ")[0].removesuffix(".").replace("``", "`")
        holds = "; ".join(str(rule.__doc__) for rule in stage.rules)
        name = f"{stage.name} (on request)" if stage.optional else stage.name
        lines.append(f"| {name} | `{path}.py` | {does} | {holds} |")
    return "\n".join(lines) + "\n"
