"""``KEY=VALUE``: values as in a chip file, words without quotes."""

from __future__ import annotations

from typing import Any

import pytest

from pimc.cli.options.assignment import assignment
from pimc.errors import UsageError

READ: list[tuple[str, str, Any]] = [
    ("adc.bits=6", "adc.bits", 6),
    (" adc.bits = 6 ", "adc.bits", 6),
    ("read_noise.relative=0.02", "read_noise.relative", 0.02),
    ("dac.signed=false", "dac.signed", False),
    ("dac.mode=bit_serial", "dac.mode", "bit_serial"),
    ('dac.mode="bit_serial"', "dac.mode", "bit_serial"),
    ("cell.g_levels_us=[2.0, 13.0]", "cell.g_levels_us", [2.0, 13.0]),
    ("source=a=b", "source", "a=b"),
    ("source=1\nb = 2", "source", "1\nb = 2"),
    ("source=" + "[" * 2000, "source", "[" * 2000),
]


@pytest.mark.parametrize(("text", "key", "value"), READ, ids=[t[:24] for t, _, _ in READ])
def test_it_is_read(text: str, key: str, value: Any) -> None:
    assert assignment(text) == (key, value)


@pytest.mark.parametrize("text", ["", "adc.bits", "adc.bits=", "=6", " = "])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not KEY=VALUE"):
        assignment(text)
