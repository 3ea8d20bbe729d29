"""What values of options look like."""

from __future__ import annotations

from typing import Any

import click
import pytest

from pimc.cli.options.values import DURATION, FLOATS, PACKING, SIZE, states_of
from pimc.errors import UsageError


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (SIZE, "128x64", (128, 64)),
        (SIZE, " 3 X 4 ", (3, 4)),
        (SIZE, "3×4", (3, 4)),
        (FLOATS, "0.5", (0.5,)),
        (FLOATS, "0.1,0.2,-3e1", (0.1, 0.2, -30.0)),
        (DURATION, "90s", 90.0),
        (DURATION, "1.5 min", 90.0),
        (DURATION, "12h", 43_200.0),
        (DURATION, "10y", 10 * 365.25 * 86_400.0),
        (PACKING, "dense", "dense"),
        (PACKING, "12", 12),
    ],
)
def test_text_becomes_a_value(kind: click.ParamType[Any], text: str, value: object) -> None:
    assert kind.convert(text, None, None) == value
    assert kind.convert(value, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (SIZE, "128"),
        (SIZE, "0x5"),
        (SIZE, "5x0"),
        (SIZE, "-1x5"),
        (SIZE, "1x2x3"),
        (FLOATS, ""),
        (FLOATS, "a,b"),
        (FLOATS, "1,"),
        (DURATION, "1 week"),
        (DURATION, "d"),
        (DURATION, "-1d"),
        (PACKING, "0"),
        (PACKING, "1.5"),
        (PACKING, "thin"),
    ],
)
def test_other_text_is_refused(kind: click.ParamType[Any], text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no"):
        kind.convert(text, None, None)


def test_an_input_is_fed_by_one_output() -> None:
    assert states_of([("h", "hn"), ("c", "cn"), ("h", "hn")]) == {"h": "hn", "c": "cn"}
    with pytest.raises(UsageError, match="h is fed by hn and by cn"):
        states_of([("h", "hn"), ("h", "cn")])
