"""What ``pimc compile --max-drop`` tells of its choice: JSON, tables, a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimc.cli.options.task import keyed, told_of
from pimc.cli.text import facts, table

if TYPE_CHECKING:
    from pimc.cli.compiling.within import WithinOptions
    from pimc.studies.spending.choice import Choice
    from pimc.studies.spending.front import Offer
    from pimc.studies.spending.judge import Checked

__all__ = ["draw_front", "offer_of", "result_of", "text_of"]


def offer_of(offer: Offer) -> dict[str, Any]:
    """The JSON object of an offer."""
    return {
        "mapping": offer.mapping,
        "adc_range": offer.adc_range,
        "cells": offer.cells,
        "cost": offer.cost,
        "damage": offer.damage,
        "damage_reading": offer.reading,
        "damage_writing": offer.writing,
    }


def result_of(choice: Choice, within: WithinOptions) -> dict[str, Any]:
    """The JSON object of a choice."""
    task, taken = within.judged_by, choice.chosen
    measured = {one.number: one for one in choice.checked}
    front = [
        {
            "cells": point.cells,
            "cost": point.cost,
            "damage": point.damage,
            "expected_drop": choice.expected(number),
            **_measured(measured.get(number)),
        }
        for number, point in enumerate(choice.points)
    ]
    found = {
        **told_of(task),
        "agreement": choice.agreement,
        "samples": choice.samples,
        "dies": taken.dies,
        "state": _state(taken, choice),
        "max_drop": within.allowed,
        "minimize": choice.weighed.price.minimize,
        "digital_price": choice.weighed.price.of_digital,
        "float_accuracy": choice.in_float,
        "accuracy_mean": taken.value,
        "perfect_accuracy": taken.perfect,
        "drop": taken.drop,
        "cost": taken.cost,
        "weights": sum(choice.weighed.weights),
        "cells_a_weight": taken.point.cells / sum(choice.weighed.weights),
        "digital_weights": _digital(choice),
        "ok": choice.reached,
        "limit": choice.limit or None,
        "front": [keyed(task, one) for one in front],
        "layers": [
            {
                "name": name,
                **offer_of(taken.point.offers[number]),
                "offers": [offer_of(offer) for offer in choice.weighed.offers[number]],
                "why": choice.why(number),
            }
            for number, name in enumerate(choice.weighed.layers)
        ],
        "picture": None if within.front is None else str(within.front),
    }
    return keyed(task, found)


def _measured(one: Checked | None) -> dict[str, Any]:
    if one is None:
        return {"accuracy_mean": None, "drop": None}
    return {"accuracy_mean": one.value, "drop": one.drop}


def _state(one: Checked, choice: Choice) -> str:
    if not one.dies:
        return "perfect cells"
    return "recovered dies" if choice.recovered else "dies as programmed"


def _digital(choice: Choice) -> int:
    pairs = zip(choice.weighed.weights, choice.chosen.point.offers, strict=True)
    return sum(weights for weights, offer in pairs if offer.is_digital)


def text_of(choice: Choice, within: WithinOptions, limit: int) -> str:
    """The same for people.

    Args:
        limit: rows of the table of layers.
    """
    told = facts(_facts(choice, within))
    return f"{_layers(choice, limit)}\n\n{_checked(choice, within)}\n\n{told}"


def _layers(choice: Choice, limit: int) -> str:
    rows = [
        (
            name,
            offer.mapping if offer.adc_range is None else f"{offer.mapping} {offer.adc_range}",
            f"{offer.cells:,}",
            f"{offer.damage:.2g}",
            choice.why(number),
        )
        for number, (name, offer) in enumerate(
            zip(choice.weighed.layers, choice.chosen.point.offers, strict=True)
        )
    ]
    return table(("layer", "mapping", "cells", "damage", "why"), rows, limit=limit)


def _checked(choice: Choice, within: WithinOptions) -> str:
    metric, weights = within.judged_by.metric, sum(choice.weighed.weights)
    minimize = choice.weighed.price.minimize
    rows = []
    for one in choice.checked:
        expected = choice.expected(one.number)
        rows.append(
            (
                f"{one.cost:,.0f}",
                f"{one.point.cells / weights:.2f}",
                f"{one.point.damage:.3g}",
                "–" if expected is None else metric.number(expected),
                metric.number(one.drop),
                metric.text(one.value),
                _state(one, choice),
                "taken" if one.number == choice.chosen.number else ("holds" if one.holds else "–"),
            )
        )
    unit = choice.unit if choice.unit == minimize else f"{minimize} in {choice.unit}"
    header = (
        unit, "cells a weight", "damage", "expected drop", "drop", metric.name, "on", "",
    )  # fmt: skip
    return table(header, rows)


def _facts(choice: Choice, within: WithinOptions) -> list[tuple[str, str]]:
    metric, taken = within.judged_by.metric, choice.chosen
    what = "agreement with the float network" if choice.agreement else metric.name
    verdict = "kept" if choice.reached else "NOT kept; this is the best that was found"
    where = f"{taken.dies} {_state(taken, choice)}" if taken.dies else _state(taken, choice)
    digital, weights = _digital(choice), sum(choice.weighed.weights)
    return [
        ("held to", f"{what} on {choice.samples:,} held-out samples, {where}"),
        ("float", metric.text(choice.in_float)),
        (
            "drop",
            f"{metric.number(taken.drop)} of {metric.number(within.allowed)} allowed, {verdict}",
        ),
        ("95 % interval", metric.texts(*taken.interval)),
        ("digital", f"{digital:,} of {weights:,} weights" if digital else ""),
        (
            "drops expected",
            "" if choice.rule is None else "from what was measured: drop = "
            f"{metric.scale * choice.rule.factor:.3g} × damage^{choice.rule.exponent:.2g}",
        ),
        ("limited by", choice.limit),
        ("picture", "" if within.front is None else str(within.front)),
    ]  # fmt: skip


def draw_front(path: Path, choice: Choice, within: WithinOptions, chip: str) -> None:
    """The picture of a front.

    Raises:
        UsageError: the file cannot be written.
    """
    from pimc.pictures.spending import front_picture

    metric = within.judged_by.metric
    minimize = choice.weighed.price.minimize
    front_picture(
        path,
        [(point.cost, choice.expected(number)) for number, point in enumerate(choice.points)],
        [
            (
                one.cost,
                one.drop,
                tuple(metric.worse_by(end, choice.in_float) for end in one.interval),
            )
            for one in choice.checked
        ],
        taken=[one.number for one in choice.checked].index(choice.chosen.number),
        allowed=within.allowed,
        metric=metric,
        cost=f"{minimize} in {choice.unit}" if choice.unit != minimize else minimize,
        about=f"{_state(choice.chosen, choice)}, chip {chip}",
        dies=choice.chosen.dies,
        samples=choice.samples,
    )
