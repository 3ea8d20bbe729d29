"""The least cost that keeps a network within a drop: predicted, checked, more where needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from glob import escape
from typing import TYPE_CHECKING

import numpy as np

from pimc.api import compile as compile_model
from pimc.api import read
from pimc.chip.design import Chip
from pimc.chip.fault_map import FaultMap
from pimc.chip.layer_mapping import parse_mapping
from pimc.data.dataset import Dataset
from pimc.errors import ChipError, DataError
from pimc.image.image import Image
from pimc.passes.options import Options
from pimc.passes.own import OwnPasses
from pimc.plan.records import Plan
from pimc.progress import Progress, silent
from pimc.studies.spending.cost import UNITS
from pimc.studies.spending.front import Point
from pimc.studies.spending.judge import Checked, Judge, State
from pimc.studies.spending.offers import Trials
from pimc.studies.spending.search import Rule, fewest
from pimc.studies.spending.weigh import Weighed, weighed
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
        chosen: the cheapest point that holds; the best where none does.
        weighed: what it was chosen from.
        checked: what of the front was measured, by cost.
        rule: what drop is expected of a damage, as fitted to what was measured; None where no drop
            was seen.
        counted: the damages of the points that this is about.
        in_float: the metric of the float network.
        ranges_on: the samples that ranges were chosen on.
        samples: how many others the drop was measured on.
        agreement: the samples have no labels: the figure is agreement with the float network.
        recovered: dies were recovered before they were measured.
        limit: what stands in the way where no point holds; else empty.
    """

    image: Image
    chosen: Checked
    weighed: Weighed
    checked: Sequence[Checked]
    rule: Rule | None
    counted: Sequence[float]
    in_float: float
    ranges_on: Dataset
    samples: int
    agreement: bool
    recovered: bool
    limit: str

    @property
    def reached(self) -> bool:
        """Whether the drop holds."""
        return self.chosen.holds

    @property
    def points(self) -> Sequence[Point]:
        """The whole front, as predicted."""
        return self.weighed.points

    def expected(self, number: int) -> float | None:
        """The drop that is expected of a point, by what was measured of others and of it."""
        return None if self.rule is None else self.rule(self.counted[number])

    def why(self, number: int) -> str:
        """Why a layer is what it is."""
        mine = self.chosen.point.offers[number]
        every = [(p.rate, p.offers[number]) for p in self.points if p.last == number]
        taken = [(rate, offer) for rate, offer in every if offer.cost <= mine.cost]
        left = [(rate, offer) for rate, offer in every if offer.cost > mine.cost]
        parts = []
        if taken:
            parts.append(f"its last step avoids {1000 * taken[-1][0]:.2g} a thousand {self.unit}")
        if left:
            rate, offer = left[0]
            parts.append(f"the next, {offer.mapping}, would avoid {1000 * rate:.2g}")
        if len(self.weighed.offers[number]) == 1:
            parts.append("asked for" if not every else "")
        elif not left:
            parts.append("nothing that was tried is better")
        return ", ".join(filter(None, parts))

    @property
    def unit(self) -> str:
        """Of costs."""
        return UNITS[self.weighed.price.minimize]


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
    trials: Trials | None = None,
    state: State | None = None,
    passes: OwnPasses | None = None,
    faults: FaultMap | None = None,
    progress: Progress = silent,
) -> Choice:
    """Compile a network at the least cost that keeps its metric near the float network's.

    Every mapping's damage to every layer is predicted, the front of cost against damage follows,
    and points on it are compiled and measured on held-out samples until the cheapest one is found
    that holds.

    Args:
        model: as of :func:`pimc.compile`.
        calib: calibration samples; half of them are held out. Where they lack what the task needs
            and it is classification, agreement with the float network is its figure.
        max_drop: how much worse the metric may be, in its own unit (a share, not per cent).
        options: mappings of layers in it are kept.
        trials: what layers may be.
        state: what holds the drop: perfect cells, and dies where it names some.

    Raises:
        DataError: too few samples, or without what the task needs.
        ModelError, ChipError, UsageError: as of :func:`pimc.compile` and :func:`weighed`.
    """
    options, state = options or Options(), state or State()
    first = read(model, None, calib)
    chosen_on, held = halves(calib)
    front_of = weighed(
        first, chip, chosen_on, options, trials or Trials(), task=task, passes=passes,
        progress=progress,
    )  # fmt: skip
    chosen_on, held = (d.on(front_of.plan.graph.graph.inputs) for d in (chosen_on, held))
    points = front_of.points
    maker = _Maker(first, front_of, chip, chosen_on, options, passes, faults)
    images: dict[int, Image] = {0: maker(points[0])}
    judge = Judge.of(images[0], held, chosen_on, task, state, max_drop, progress)
    found: dict[int, Checked] = {}

    def drop_of(number: int) -> float | None:
        point = points[number]
        try:
            image = images[number] if number in images else maker(point)
        except ChipError:  # the cheapest one fits: this one is too large
            return None
        images[number] = image
        found[number] = judge(number, point, image, maker.cost(point, image))
        return found[number].drop

    counted = [p.damage if state.dies else sum(o.reading for o in p.offers) for p in points]
    number, drops = fewest(counted, max_drop, drop_of)
    limit = ""
    if number is None:
        number = min(found, key=lambda one: (found[one].drop, points[one].cost))
        limit = _limit(found[number], images[number], front_of, judge)
    return Choice(
        image=images[number],
        chosen=found[number],
        weighed=front_of,
        checked=[found[one] for one in sorted(found)],
        rule=Rule.of([(counted[n], drop) for n, drop in drops.items()]),
        counted=counted,
        in_float=judge.in_float,
        ranges_on=chosen_on,
        samples=len(held),
        agreement=judge.agreement,
        recovered=state.recover,
        limit=limit,
    )


@dataclass(frozen=True)
class _Maker:
    """Compiles points of a front."""

    first: Plan
    weighed: Weighed
    chip: Chip
    data: Dataset
    options: Options
    passes: OwnPasses | None
    faults: FaultMap | None

    def __call__(self, point: Point) -> Image:
        """The network as a point has it, noted as the options that give it again."""
        pairs = list(zip(self.weighed.plan.layers, point.offers, strict=True))
        kept = {glob: text for glob, text in self.options.mapping.items() if text == "digital"}
        own = {escape(layer.name): offer.mapping for layer, offer in pairs}
        ranges = {
            escape(layer.name): offer.adc_range
            for layer, offer in pairs
            if offer.adc_range is not None
        }
        start = self.first
        if not any(offer.is_digital for offer in point.offers):
            layers = (replace(e, mapping=parse_mapping(o.mapping, self.chip)) for e, o in pairs)
            start = replace(self.weighed.plan, layers=tuple(layers))
        return compile_model(
            start,
            self.chip,
            calib=self.data,
            faults=self.faults,
            options=replace(
                self.options, mapping=kept | own, adc_range=ranges | dict(self.options.adc_range)
            ),
            passes=self.passes,
        )

    def cost(self, point: Point, image: Image) -> float:
        """What an image of a point costs, with what is digital."""
        digital = sum(offer.cost for offer in point.offers if offer.is_digital)
        return self.weighed.price.of_image(image) + digital


def _limit(best: Checked, image: Image, front_of: Weighed, judge: Judge) -> str:
    """What stands in the way of the drop."""
    metric = judge.batches.task.metric
    if best.dies:
        alone = metric.number(metric.worse_by(best.perfect, judge.in_float))
        return f"write errors: with perfect cells the drop is {alone}"
    without = judge.without_converters(image)
    if judge.allows(without):
        return f"the ADCs: without them the drop is {metric.number(without)}"
    damages = [offer.damage for offer in best.point.offers]
    worst = int(np.argmax(damages))
    share = damages[worst] / max(sum(damages), 1e-30)
    return (
        f"layer {front_of.layers[worst]}, {share:.0%} of the damage that is left: "
        f"{best.point.offers[worst].mapping} is the best for it that was tried"
    )
