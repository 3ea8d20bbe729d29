"""The front of cost against damage, held against every combination there is."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pimc.studies.spending.front import Offer, front, hull

OFFER = st.builds(
    Offer,
    st.just("any"),
    st.just(0),
    st.integers(1, 50).map(float),
    st.integers(0, 1000).map(lambda tenths: tenths / 10),
)
LAYERS = st.lists(st.lists(OFFER, min_size=1, max_size=5), min_size=1, max_size=4)


def test_a_hull_by_hand() -> None:
    offers = [
        Offer("one", 1, 10, 8.0),
        Offer("dearer and worse", 1, 15, 9.0),
        Offer("above the line", 1, 20, 5.0),
        Offer("three", 1, 30, 1.0),
        Offer("as dear and worse", 1, 30, 2.0),
        Offer("four", 1, 40, 0.5),
    ]
    assert [offer.mapping for offer in hull(offers)] == ["one", "three", "four"]


@given(st.lists(OFFER, min_size=1, max_size=8))
def test_each_step_of_a_hull_avoids_less_a_cell(offers) -> None:
    found = hull(offers)
    assert found[0].cost == min(offer.cost for offer in offers)
    assert found[-1].damage == min(offer.damage for offer in offers)
    rates = [(a.damage - b.damage) / (b.cost - a.cost) for a, b in pairwise(found)]
    assert all(rate > 0 for rate in rates)
    assert all(one > two for one, two in pairwise(rates))
    for offer in offers:  # none lies below the hull
        for a, b in pairwise(found):
            if a.cost <= offer.cost <= b.cost:
                share = (offer.cost - a.cost) / (b.cost - a.cost)
                assert offer.damage >= a.damage + share * (b.damage - a.damage) - 1e-9


@given(LAYERS)
def test_no_combination_of_as_much_has_less_damage(layers) -> None:
    every = [
        (sum(offer.cost for offer in chosen), sum(offer.damage for offer in chosen))
        for chosen in product(*layers)
    ]
    for point in front(layers):
        best = min(damage for cells, damage in every if cells <= point.cost)
        assert point.damage == pytest.approx(best)


@given(LAYERS)
def test_points_go_on_by_one_layer_each(layers) -> None:
    points = front(layers)
    assert points[0].last is None
    for before, after in pairwise(points):
        changed = [
            n for n, (a, b) in enumerate(zip(before.offers, after.offers, strict=True)) if a != b
        ]
        assert changed == [after.last]
        assert after.cost > before.cost
        assert after.damage < before.damage
    assert all(one.rate >= two.rate for one, two in pairwise(points[1:]))
