"""The fewest cells that keep a network within a drop: predicted, checked, more where needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from glob import escape
from typing import TYPE_CHECKING

import numpy as np

from pimc.api import compile as compile_model
from pimc.api import plan as plan_model
from pimc.api import read
from pimc.chip.design import Chip
from pimc.chip.fault_map import FaultMap
from pimc.chip.layer_mapping import parse_mapping
from pimc.data.dataset import Dataset
from pimc.errors import DataError
from pimc.image.image import Image
from pimc.passes.options import Options
from pimc.passes.own import OwnPasses
from pimc.plan.records import Plan
from pimc.progress import Progress, silent
from pimc.studies.spending.damage import KINDS, State, offers
from pimc.studies.spending.front import Offer, Point, front
from pimc.studies.spending.judge import Checked, Judge
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.task import Task

if TYPE_CHECKING:
    from pimc.api import Model

__all__ = ["Choice", "choose", "halves"]

#: Held-out samples that the choice is checked on at most, and at least.
MOST_HELD_OUT, LEAST_HELD_OUT = 1024, 16


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        image: the network compiled like that.
        chosen: the point that holds with the fewest cells; the best where none does.
        points: the whole front, as predicted.
        checked: what of it was measured, by cells.
        layers: names of the layers.
        offers: what was weighed of each layer.
        in_float: the metric of the float network.
        ranges_on: the samples that ranges were chosen on.
        samples: how many others the drop was measured on.
        agreement: the samples have no labels: the figure is agreement with the float network.
        limit: what stands in the way where no point holds; else empty.
    """

    image: Image
    chosen: Checked
    points: Sequence[Point]
    checked: Sequence[Checked]
    layers: Sequence[str]
    offers: Sequence[Sequence[Offer]]
    in_float: float
    ranges_on: Dataset
    samples: int
    agreement: bool
    limit: str

    @property
    def reached(self) -> bool:
        """Whether the drop holds."""
        return self.chosen.holds

    def why(self, number: int) -> str:
        """Why a layer has the mapping that it has."""
        mine = self.chosen.point.offers[number]
        every = [(p.rate, p.offers[number]) for p in self.points if p.last == number]
        taken = [rate for rate, offer in every if offer.cells <= mine.cells]
        left = [rate for rate, offer in every if offer.cells > mine.cells]
        parts = []
        if taken:
            parts.append(f"its last step avoids {1000 * taken[-1]:.2g} a thousand cells")
        if left:
            parts.append(f"the next would avoid {1000 * left[0]:.2g}")
        if len(self.offers[number]) == 1:
            parts.append("asked for" if not every else "")
        elif not left:
            parts.append("nothing that was tried is better")
        return ", ".join(filter(None, parts))


def halves(data: Dataset) -> tuple[Dataset, Dataset]:
    """Samples to calibrate on, and every second one, held out.

    Raises:
        DataError: too few samples.
    """
    held = np.arange(1, len(data), 2)
    if len(held) < LEAST_HELD_OUT:
        raise DataError(
            f"{len(data)} samples are too few to hold a drop to: half of them are held out",
            data.name,
            f"give {2 * LEAST_HELD_OUT} at least",
        )
    some = np.unique(np.linspace(0, len(held) - 1, min(len(held), MOST_HELD_OUT)).astype(np.int64))
    return data.subset(np.arange(0, len(data), 2)), data.subset(held[some])


def choose(
    model: Model,
    chip: Chip,
    calib: Dataset,
    max_drop: float,
    *,
    task: Task = CLASSIFICATION,
    options: Options | None = None,
    kinds: Sequence[str] = KINDS,
    state: State | None = None,
    passes: OwnPasses | None = None,
    faults: FaultMap | None = None,
    progress: Progress = silent,
) -> Choice:
    """Compile a network with the fewest cells that keep its metric near the float network's.

    Every mapping's damage to every layer is measured alone, the front of cells against damage
    follows, and points on it are compiled and measured on held-out samples until the one with the
    fewest cells is found that holds.

    Args:
        model: as of :func:`pimc.compile`.
        calib: calibration samples; half of them are held out. Where they lack what the task needs
            and it is classification, agreement with the float network is its figure.
        max_drop: how much worse the metric may be, in its own unit (a share, not per cent).
        options: mappings of layers in it are kept.
        kinds: mappings that layers without one may have.
        state: perfect cells if None.

    Raises:
        DataError: too few samples, or without what the task needs.
        ModelError, ChipError, UsageError: as of :func:`pimc.compile`.
    """
    options, state = options or Options(), state or State()
    first = read(model, None, calib)
    plan = plan_model(first, chip, options=options, passes=passes, stop_after="partition")
    calib = calib.on(plan.graph.graph.inputs)
    chosen_on, held = halves(calib)
    weighed = offers(
        plan, chip, chosen_on, options, kinds=kinds, state=state, task=task, progress=progress
    )
    points = front(weighed)
    build = partial(_compiled, plan, chip, chosen_on, options, passes, faults)
    judge = Judge.of(build(points[0]), held, task, state, max_drop, progress)
    found: dict[int, tuple[Checked, Image]] = {}

    def holds(number: int) -> bool:
        if number not in found:
            image = build(points[number])
            found[number] = (judge(number, points[number], image), image)
        return found[number][0].holds

    number = _fewest(len(points), holds)
    limit = ""
    if number is None:
        number = min(found, key=lambda one: (found[one][0].drop, points[one].cells))
        limit = _limit(found[number], plan, judge)
    checked, image = found[number]
    return Choice(
        image=image,
        chosen=checked,
        points=points,
        checked=[found[one][0] for one in sorted(found)],
        layers=[layer.name for layer in plan.layers],
        offers=weighed,
        in_float=judge.in_float,
        ranges_on=chosen_on,
        samples=len(held),
        agreement=judge.agreement,
        limit=limit,
    )


def _fewest(count: int, holds: Callable[[int], bool]) -> int | None:
    """The first of ``count`` points that holds, where each after one that does does, too."""
    if holds(0):
        return 0
    if not holds(count - 1):
        return None
    fails, good = 0, count - 1
    while good - fails > 1:
        middle = (fails + good) // 2
        if holds(middle):
            good = middle
        else:
            fails = middle
    return good


def _compiled(
    plan: Plan,
    chip: Chip,
    data: Dataset,
    options: Options,
    passes: OwnPasses | None,
    faults: FaultMap | None,
    point: Point,
) -> Image:
    """The network with the mappings of a point, noted as the options that give it again."""
    layers = tuple(
        replace(layer, mapping=parse_mapping(offer.mapping, chip))
        for layer, offer in zip(plan.layers, point.offers, strict=True)
    )
    own = {escape(e.name): o.mapping for e, o in zip(layers, point.offers, strict=True)}
    digital = {glob: text for glob, text in options.mapping.items() if text == "digital"}
    return compile_model(
        replace(plan, layers=layers),
        chip,
        calib=data,
        faults=faults,
        options=replace(options, mapping=digital | own),
        passes=passes,
    )


def _limit(best: tuple[Checked, Image], plan: Plan, judge: Judge) -> str:
    """What stands in the way of the drop."""
    checked, image = best
    metric = judge.batches.task.metric
    without = metric.worse_by(judge.value(image, converters=False), judge.in_float)
    if without <= judge.max_drop:
        return f"the ADCs: without them the drop is {metric.number(without)}"
    damages = [offer.damage for offer in checked.point.offers]
    worst = int(np.argmax(damages))
    share = damages[worst] / max(sum(damages), 1e-30)
    return (
        f"layer {plan.layers[worst].name}, {share:.0%} of the damage that is left: "
        f"{checked.point.offers[worst].mapping} is the best for it that was tried"
    )
