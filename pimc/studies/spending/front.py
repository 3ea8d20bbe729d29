"""The front of cost against damage: which layer gets more first.

Damages of layers are taken to add up, as small independent errors do. Of a layer only offers on
the lower convex hull of its costs and damages are worth having; the steps along all hulls, in the
order of damage avoided for what they cost, are the front: each of its points is the least damage
that so much can buy, but for what is left between two points (a knapsack relaxed to parts of
items).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

__all__ = ["Offer", "Point", "front", "hull"]


@dataclass(frozen=True)
class Offer:
    """What a layer is in one mapping.

    Attributes:
        mapping: as users write it; ``digital`` for a layer off the array.
        cells: of the whole layer.
        cost: of the whole layer, in what is to be saved.
        reading, writing: its damage: expected distance of the network's outputs from the float
            network's where this layer alone is on the array, by what perfect cells give and by
            what is left of write errors.
        adc_range: how the ADC's range is chosen, as users write it; None as the chip says.
    """

    mapping: str
    cells: int
    cost: float
    reading: float = 0.0
    writing: float = 0.0
    adc_range: str | None = None

    @property
    def damage(self) -> float:
        """Of both kinds."""
        return self.reading + self.writing

    @property
    def is_digital(self) -> bool:
        """Whether the layer is off the array."""
        return self.mapping == "digital"


@dataclass(frozen=True)
class Point:
    """An offer for every layer.

    Attributes:
        offers: one a layer.
        last: number of the layer that costs more than at the point before; None at the first.
        rate: damage that its step avoids for a unit of cost.
    """

    offers: tuple[Offer, ...]
    last: int | None = None
    rate: float = 0.0

    @property
    def cells(self) -> int:
        """Of all layers on the array."""
        return sum(offer.cells for offer in self.offers)

    @property
    def cost(self) -> float:
        """Of all layers."""
        return sum(offer.cost for offer in self.offers)

    @property
    def damage(self) -> float:
        """Of all layers."""
        return sum(offer.damage for offer in self.offers)


def hull(offers: Sequence[Offer]) -> list[Offer]:
    """The offers of a layer that are worth having, the cheapest first: each next one avoids less
    damage for what it costs than the one before it.
    """
    found: list[Offer] = []
    for offer in sorted(offers, key=lambda o: (o.cost, o.damage)):
        if found and (offer.damage >= found[-1].damage or offer.cost == found[-1].cost):
            continue
        while len(found) > 1 and _rate(found[-2], found[-1]) <= _rate(found[-1], offer):
            found.pop()
        found.append(offer)
    return found


def front(layers: Sequence[Sequence[Offer]]) -> list[Point]:
    """The points from the least cost to the least damage."""
    hulls = [hull(offers) for offers in layers]
    steps = [
        (_rate(before, after), number, after)
        for number, offers in enumerate(hulls)
        for before, after in pairwise(offers)
    ]
    points = [Point(tuple(offers[0] for offers in hulls))]
    for rate, number, after in sorted(steps, key=lambda step: -step[0]):
        offers = list(points[-1].offers)
        offers[number] = after
        points.append(replace(points[-1], offers=tuple(offers), last=number, rate=rate))
    return points


def _rate(before: Offer, after: Offer) -> float:
    """Damage that a step avoids for a unit of cost."""
    return (before.damage - after.damage) / (after.cost - before.cost)
