"""Descriptions of tensors: what is missing, misshapen or out of range is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from pimc.errors import DeviceError
from pimc.files.schema import (
    TensorSpec,
    by_field,
    by_name,
    misfits,
    missing,
    outside,
    require,
    tensor,
    tensor_rows,
    tensors_of,
)
from pimc.files.tensor_file import Deferred


@dataclass
class Record:
    """A part of a file."""

    gain: Any = field(metadata=tensor("float32", ("groups · cols",), "a factor", values="finite"))
    codes: Any = field(metadata=tensor(("int16", "int32"), ("n", "rows", 2), "pairs"))
    index: Any = field(default=None, metadata=tensor("int64", ("n",), "places", optional=True))
    value: Any = field(
        default=None, metadata=tensor("int64", ("n",), "more", optional=True, needs="index")
    )
    note: str = ""


SPECS = tensors_of(Record)
SIZES = {"groups": 2, "cols": 3, "rows": 4}


def contents(**changes: Any) -> dict[str, Any]:
    whole = {"gain": np.zeros(6, np.float32), "codes": np.zeros((5, 4, 2), np.int16)}
    return whole | {"index": np.zeros(5, np.int64)} | changes


def test_what_fits_is_taken() -> None:
    for changes in ({}, {"index": None}, {"codes": np.zeros((5, 4, 2), np.int32)}):
        assert list(misfits(SPECS, contents(**changes), SIZES)) == []
        assert missing(SPECS, contents(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"gain": np.zeros(6)}, ("gain", "is float64 (6,), expected float32 (6,)")),
        ({"gain": np.zeros(5, np.float32)}, ("gain", "is float32 (5,), expected float32 (6,)")),
        (
            {"codes": np.zeros((5, 3, 2), np.uint16)},
            ("codes", "is uint16 (5, 3, 2), expected int16 or int32 (5, 4, 2)"),
        ),
        ({"codes": np.int16(1)}, ("codes", "is int16 (), expected int16 or int32 (n, 4, 2)")),
        # A size that nobody knows beforehand is the same wherever it stands.
        ({"index": np.zeros(6, np.int64)}, ("index", "is int64 (6,), expected int64 (5,)")),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], problem: tuple[str, str]) -> None:
    assert list(misfits(SPECS, contents(**changes), SIZES)) == [problem]


def test_a_tensor_that_means_nothing_without_another() -> None:
    value = np.zeros(5, np.int64)
    assert missing(SPECS, contents(value=value)) == []
    assert missing(SPECS, contents(value=value, index=None)) == ["index"]
    assert missing(SPECS, contents(gain=None)) == ["gain"]


def test_a_deferred_tensor_is_not_made_to_be_checked() -> None:
    def parts() -> Iterator[Any]:
        raise AssertionError

    gain = Deferred(np.dtype(np.float32), (6,), parts)
    assert list(misfits(SPECS, contents(gain=gain), SIZES)) == []
    late = Deferred(np.dtype(np.float64), (6,), parts)
    assert [name for name, _ in misfits(SPECS, contents(gain=late), SIZES)] == ["gain"]


def test_names_in_the_file_and_back() -> None:
    record = Record(**contents(index=None), note="not a tensor")
    named = by_name(record, "part.{}".format)
    assert sorted(named) == ["part.codes", "part.gain"]
    found = by_field(SPECS, named, "part.{}".format)
    assert found.keys() == SPECS.keys()
    assert found["gain"] is record.gain
    assert found["index"] is None


def test_one_sentence_says_what_is_wrong() -> None:
    require(SPECS, contents(), SIZES, DeviceError, "x.die")
    with pytest.raises(DeviceError, match=r"x\.die: has no tensor part\.gain"):
        require(SPECS, contents(gain=None), SIZES, DeviceError, "x.die", named="part.{}".format)
    with pytest.raises(DeviceError, match=r"tensor gain is float64") as caught:
        require(SPECS, contents(gain=np.zeros(6)), SIZES, DeviceError, "x.die")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("values", "of", "limits"),
    [
        ("numbers", [np.inf, 0.0], None),
        ("numbers", [np.nan, 0.0], (-np.inf, np.inf)),
        ("finite", [-1.0, 1e38], None),
        ("not negative", [0.0], None),
        ("positive", [1e-45], None),
        ("codes", [0.0, 7.0], None),
        ("codes", [8.0], (0, 7)),
        ("codes", [-1.0], (0, 7)),
        ("codes", [], None),
    ],
)
def test_values_outside_a_range(values: str, of: list[float], limits: Any) -> None:
    spec = TensorSpec(("float32",), ("n",), "", values=values)
    assert outside(spec, np.array(of, np.float32), {"codes": (0, 7)}) == limits


@pytest.mark.parametrize("values", ["finite", "not negative", "positive"])
@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_lies_in_no_finite_range(values: str, wrong: float) -> None:
    spec = TensorSpec(("float32",), ("n",), "", values=values)
    assert outside(spec, np.array([1.0, wrong], np.float32)) is not None


@pytest.mark.parametrize(("values", "wrong"), [("not negative", -1e-9), ("positive", 0.0)])
def test_the_lower_end_of_a_range(values: str, wrong: float) -> None:
    spec = TensorSpec(("float32",), ("n",), "", values=values)
    assert outside(spec, np.array([wrong], np.float32)) is not None


def test_rows_of_a_specification() -> None:
    assert list(tensor_rows(SPECS, "part.{}".format)) == [
        "| `part.gain` | f32 (groups · cols,) | a factor |",
        "| `part.codes` | i16 or i32 (n, rows, 2) | pairs |",
        "| `part.index` | i64 (n,) | optional, places |",
        "| `part.value` | i64 (n,) | optional, with `index`: more |",
    ]
