"""How a recovery ends: one sentence of what was gained, one of what to do next."""

from __future__ import annotations

from typing import Any

import pytest

from pimc.cli.recovering.results import outcome
from pimc.tasks.find import task_named

METRIC = task_named("classification").metric


def entry(**changed: Any) -> dict[str, Any]:
    """What a die's report tells, as far as the end looks at it."""
    told = {
        "accuracy_before": None,
        "accuracy_after": None,
        "output": "m.r1.pimc",
        "die_file": "chip7.die",
        "measured_on_chip": True,
        "verdict": {"gained": True},
        "stages": [
            {"agreement": 0.5, "kept": False},
            {"agreement": 0.875, "kept": True},
            {"agreement": 0.8, "kept": False},
        ],
    }
    return told | changed


MEASURED = {"accuracy_before": 0.5, "accuracy_after": 0.84}
NOT = {"verdict": {"gained": False}}
USE = "next: use m.r1.pimc from now on, as in `pimc run m.r1.pimc --die chip7.die --input DATA`"


@pytest.mark.parametrize(
    ("results", "in_float", "result", "following"),
    [
        (
            [entry(**MEASURED)],
            0.9,
            "result: the die reaches accuracy 84.00 %, 50.00 % before; the float network reaches "
            "90.00 %",
            USE,
        ),
        (
            [entry()],
            None,
            "result: the die chooses the float network's class for 87.5 % of inputs, 50.0 % before",
            USE,
        ),
        (
            [entry(stages=[{"agreement": None, "kept": True}])],
            None,
            "result: the die's outputs are closer to those of the float network than before",
            USE,
        ),
        (
            [entry(**NOT)],
            None,
            "result: the die answers no more like the float network than before",
            "next: give more calibration data with --calib, or another --strategy",
        ),
        (
            [entry(**MEASURED), entry(accuracy_before=0.7, accuracy_after=0.86)],
            None,
            "result: 2 dies reach on average accuracy 85.00 %, 60.00 % before",
            "next: run each die with its own next image, named in the table above",
        ),
        (
            [entry(), entry(**NOT)],
            None,
            "result: 1 of 2 dies answer more like the float network than before",
            "next: run each die with its own next image, named in the table above",
        ),
        (
            [entry(measured_on_chip=False, die_file=None)],
            None,
            "result: the die chooses the float network's class for 87.5 % of inputs, 50.0 % before",
            "next: write the cells with `pimc program m.r1.pimc` and capture again",
        ),
    ],
)
def test_what_was_gained_and_what_to_do_next(results, in_float, result, following) -> None:
    assert outcome(results, in_float, METRIC).splitlines() == [result, following]
