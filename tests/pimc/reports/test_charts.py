"""Axes begin at zero or say that they do not, and are labelled at round numbers."""

from __future__ import annotations

import pytest

from pimc.reports.charts import bars_of, dot, scale_of


def test_an_axis_begins_at_zero_where_values_take_up_enough_of_it() -> None:
    scale = scale_of([20.0, 90.0], "%", 100.0)
    assert (scale.low, scale.high, scale.broken) == (0.0, 100.0, "")
    assert [name for _, name in scale.ticks] == ["0", "20", "40", "60", "80", "100 %"]


def test_an_axis_that_does_not_begin_at_zero_says_so() -> None:
    scale = scale_of([91.2, 92.9], "%", 100.0)
    assert 0 < scale.low < 91.2
    assert 92.9 <= scale.high <= 100
    assert scale.broken == f"The axis begins at {scale.ticks[0][1]} %, not at zero."


def test_no_axis_passes_what_no_value_can_be_above() -> None:
    assert scale_of([99.2, 99.9], "%", 100.0).high == 100.0


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [-3.0, 4.0], [1e-9, 2e-9], [1e12], []])
def test_every_value_has_its_place(values: list[float]) -> None:
    scale = scale_of(values)
    assert scale.low < scale.high
    assert all(0 <= scale.at(value) <= 100 for value in values)
    places = [at for at, _ in scale.ticks]
    assert places == sorted(places)
    assert len(places) <= 8


def test_an_interval_without_an_end_has_none() -> None:
    scale = scale_of([0.0, 1.0])
    found = dot(scale, 0, 0.5, (float("-inf"), None), "half")
    assert (found.at, found.low, found.high) == (50.0, None, None)


def test_bars_are_parts_of_the_longest() -> None:
    bars = bars_of([("a", [1.0, 3.0], "4"), ("b", [2.0], "2"), ("c", [0.0], "0")])
    assert [list(bar.parts) for bar in bars] == [[25.0, 75.0], [50.0], [0.0]]
