"""The lines of a sweep's pictures."""

from __future__ import annotations

from typing import Any

import pytest

from pimc.chip.grid import Axis, parse_axis
from pimc.pictures import sweep


def test_parameters_are_the_columns_that_are_no_figures() -> None:
    rows: list[dict[str, Any]] = [
        {"levels": 8, "adc.bits": 4, "accuracy_mean": 0.5},
        {"levels": 8, "adc.bits": 6},
    ]
    assert sweep.axes_of(rows) == [Axis("levels", (8,)), Axis("adc.bits", (4, 6))]


def test_lines_of_a_picture() -> None:
    axes = [parse_axis(text) for text in ("levels=8,16", "sigma=0.1,0.2", "adc.bits=8")]
    found = [
        {
            "levels": levels,
            "sigma": sigma,
            "adc.bits": 8,
            "error": "",
            "accuracy_per_die": [levels / 100],
        }
        for levels in (8, 16)
        for sigma in (0.1, 0.2)
    ]
    found[3] |= {"error": "too small", "accuracy_per_die": []}
    assert sweep._lines(axes[0], sweep._others(0, axes), found, "accuracy") == {
        "0.1": {8: [0.08], 16: [0.16]},
        "0.2": {8: [0.08]},
    }
    many = [*axes, parse_axis("dac.bits=2,3,4,5,6")]
    assert sweep._others(0, many) == [axes[1]]
    # Of each die the mean over what a picture has no line for: dies are what an interval is over.
    mean = pytest.approx((0.08 + 0.08 + 0.16) / 3)
    assert sweep._lines(axes[2], [], found, "accuracy") == {"": {8: [mean]}}
