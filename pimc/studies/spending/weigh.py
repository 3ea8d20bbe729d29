"""The front of a network: what its layers may be, what that costs, and what damage it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pimc.api import plan as plan_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.errors import UsageError
from pimc.passes.options import Options
from pimc.passes.own import OwnPasses
from pimc.plan.records import Plan
from pimc.progress import Progress, silent
from pimc.studies.spending.cost import Price
from pimc.studies.spending.front import Offer, Point, front
from pimc.studies.spending.offers import Trials, offers
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.task import Task

__all__ = ["Weighed", "weighed"]


@dataclass(frozen=True)
class Weighed:
    """What the layers of a network may be, and the front of that.

    Attributes:
        layers: their names.
        weights: how many each has.
        offers: what was weighed of each layer.
        points: the front, as predicted, the cheapest first.
        price: what it costs.
    """

    plan: Plan = field(repr=False)
    layers: Sequence[str]
    weights: Sequence[int]
    offers: Sequence[Sequence[Offer]]
    points: Sequence[Point]
    price: Price


def weighed(
    first: Plan,
    chip: Chip,
    data: Dataset,
    options: Options,
    trials: Trials,
    *,
    task: Task = CLASSIFICATION,
    passes: OwnPasses | None = None,
    progress: Progress = silent,
) -> Weighed:
    """What the layers of a network may be, and the front; nothing of it is measured yet.

    Args:
        first: the network, as it was read.
        data: samples to weigh on.
        options: mappings of layers in it are kept.

    Raises:
        UsageError: a choice of what is tried that cannot be followed.
        ModelError, ChipError: as of :func:`pimc.compile`; gradients cannot reach a layer.
    """
    trials = trials.settled(copied=options.copies is not None)
    plan = plan_model(first, chip, options=options, passes=passes, stop_after="partition")
    data = data.on(plan.graph.graph.inputs)
    found = offers(plan, chip, data, options, trials, task=task, progress=progress)
    return Weighed(
        plan=plan,
        layers=[layer.name for layer in plan.layers],
        weights=[layer.weight.size for layer in plan.layers],
        offers=found,
        points=_points(found),
        price=trials.price,
    )


def _points(found: list[list[Offer]]) -> list[Point]:
    """The front, but that the layer which would be the last to leave the array stays there.

    Raises:
        UsageError: digital layers cost so little that none would be on it.
    """
    points = front(found)
    if not all(offer.is_digital for offer in points[-1].offers):
        return points
    last = points[-1].last
    if last is None:
        raise UsageError(
            "no layer would be on the array: digital costs the least, and does no damage",
            "digital",
            "raise --digital-price, or do not try digital",
        )
    found[last] = [offer for offer in found[last] if not offer.is_digital]
    return front(found)
