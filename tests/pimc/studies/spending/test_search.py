"""Which point of the front is looked at next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pimc.studies.spending.search import Rule, fewest


@given(
    count=st.integers(1, 40),
    first=st.integers(0, 45),
    end=st.integers(1, 45),
    power=st.floats(0.1, 3.0),
)
def test_the_first_that_holds_is_found_in_few_trials(count, first, end, power) -> None:
    damages = [1.0 / (1 + n) for n in range(count)]
    allowed = damages[first] ** power if first < count else 0.0
    tried = []

    def drop_of(number: int) -> float | None:
        tried.append(number)
        return damages[number] ** power if number < end else None

    found, drops = fewest(damages, allowed * (1 + 1e-9), drop_of)
    assert found == (first if first < min(count, end) else None)
    assert len(tried) == len(set(tried)) <= 14
    assert drops.keys() == {n for n in tried if n < end}


def test_a_rule_that_holds_saves_trials() -> None:
    damages = [0.9**n for n in range(64)]
    tried = []

    def drop_of(number: int) -> float:
        tried.append(number)
        return 3 * damages[number]

    assert fewest(damages, 3 * damages[41], drop_of)[0] == 41
    assert len(tried) <= 5


def test_rules_by_hand() -> None:
    assert Rule.of([(0.1, 0.0), (0.2, -0.1)]) is None
    one = Rule.of([(0.1, 0.02)])
    assert one is not None
    assert one(0.2) == pytest.approx(0.04)
    two = Rule.of([(0.1, 0.02), (0.4, 0.04)])
    assert two is not None
    assert two.exponent == pytest.approx(0.5)
    assert two(0.9) == pytest.approx(0.06)
    steep = Rule.of([(0.1, 0.01), (0.2, 0.9)])
    assert steep is not None
    assert steep.exponent == 2.0
    assert steep(0.0) == 0.0
