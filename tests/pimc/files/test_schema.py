"""Descriptions of tensors: what is missing, misshapen or out of range is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gain": np.full(6, np.nan, np.float32)}, "tensor part.gain holds values that are not"),
        ({"codes": np.full((5, 4, 2), 8, np.int16)}, "tensor part.codes holds .* outside 0 to 7"),
    ],
)
def test_values_are_asked_for_where_ranges_are_given(changes: Any, message: str) -> None:
    specs = {**SPECS, "codes": replace(SPECS["codes"], values="codes")}
    wrong, ranges = contents(**changes), {"codes": (0.0, 7.0)}
    require(specs, wrong, SIZES, DeviceError, "x", named="part.{}".format)
    require(specs, contents(), SIZES, DeviceError, "x", ranges=ranges)
    with pytest.raises(DeviceError, match=message):
        require(specs, wrong, SIZES, DeviceError, "x", ranges=ranges, named="part.{}".format)


def test_dimensions_that_nobody_counts() -> None:
    spec = {"y": TensorSpec(("float32",), ("samples", "…"), "")}
    for shape in ((3,), (3, 4), (0, 1, 2)):
        assert list(misfits(spec, {"y": np.zeros(shape, np.float32)}, {})) == []
    for wrong in (np.array(1, np.float32), np.zeros((3, 4))):
        ((name, problem),) = misfits(spec, {"y": wrong}, {})
        assert name == "y"
        assert problem.endswith(", …)")
    assert list(misfits(spec, {"y": np.zeros((3, 2), np.float32)}, {"samples": 4}))


def test_large_tensors_are_looked_at_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pimc.files.schema._BLOCK", 4)
    spec = TensorSpec(("float32",), ("n",), "", values="finite")
    for place in range(11):
        values = np.zeros(11, np.float32)
        assert outside(spec, values) is None
        values[place] = np.nan
        assert outside(spec, values) is not None
