"""What ``pimc layouts --calib`` tells: which layers to give more cells first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pimc.cli.text import table

if TYPE_CHECKING:
    from pimc.studies.spending.front import Point
    from pimc.studies.spending.weigh import Weighed

__all__ = ["front_result", "front_text"]


def front_result(found: Weighed) -> dict[str, Any]:
    """The JSON object of a front of which nothing was measured."""
    return {
        "minimize": found.price.minimize,
        "digital_price": found.price.of_digital,
        "weights": sum(found.weights),
        "points": [_point(found, point) for point in found.points],
    }


def _point(found: Weighed, point: Point) -> dict[str, Any]:
    changed = None if point.last is None else point.offers[point.last]
    return {
        "cells": point.cells,
        "cost": point.cost,
        "damage": point.damage,
        "layer": None if point.last is None else found.layers[point.last],
        "mapping": None if changed is None else changed.mapping,
        "adc_range": None if changed is None else changed.adc_range,
    }


def front_text(found: Weighed, limit: int) -> str:
    """The same for people.

    Args:
        limit: rows of the table.
    """
    from pimc.studies.spending.cost import UNITS

    unit, weights = UNITS[found.price.minimize], sum(found.weights)
    rows = [
        (
            f"{one['cost']:,.0f}" if one["cost"] >= 100 else f"{one['cost']:.3g}",
            f"{one['cells'] / weights:.2f}",
            f"{one['damage']:.3g}",
            one["layer"] or "the least",
            " ".join(filter(None, (one["mapping"], one["adc_range"]))) or "–",
        )
        for one in (_point(found, point) for point in found.points)
    ]
    saved: str = found.price.minimize
    if unit != saved:
        saved = f"{saved} in {unit}"
    return table((saved, "cells a weight", "damage", "then", "becomes"), rows, limit=limit)
