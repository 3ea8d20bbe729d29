"""Outputs that are no numbers are refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.errors import ModelError
from pimc.runtime.finite import require_finite


def test_numbers_of_any_type_pass() -> None:
    values = {"f": np.ones(3, np.float16), "i": np.arange(3), "s": np.array(["a"]), "n": []}
    require_finite(values, "a die")
    require_finite({"list": [np.ones(2), np.zeros(0)]}, "a die")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_others_are_counted(bad: float) -> None:
    value = np.array([[1.0, bad], [bad, 2.0]], np.float32)
    for given, text in ((value, "2 of 4"), ([np.ones(2), value], "2 of 6")):
        with pytest.raises(ModelError, match=f"{text} values of output y") as raised:
            require_finite({"x": np.ones(1), "y": given}, "a die")
        assert raised.value.where == "a die"
