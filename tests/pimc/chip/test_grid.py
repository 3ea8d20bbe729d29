"""Grids over chip parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pimc.chip.design import Chip
from pimc.chip.grid import (
    Axis,
    Point,
    as_text,
    chip_at,
    parse_axis,
    parse_value,
    points,
)
from pimc.errors import ChipError, UsageError

BASE = Chip.default()


@given(
    st.one_of(
        st.booleans(), st.integers(), st.floats(allow_nan=False), st.text("xyzX12", min_size=1)
    )
)
def test_a_value_is_read_as_it_was_written(value) -> None:
    again = parse_value(as_text(value))
    if isinstance(value, str):
        assert as_text(again) == as_text(parse_value(value))
    else:
        assert again == value
        assert type(again) is type(value)


def test_axes_are_parsed() -> None:
    assert parse_axis("levels=8,16") == Axis("levels", (8, 16))
    assert parse_axis(" sigma = 0.02, 5e-2 ") == Axis("sigma", (0.02, 0.05))
    assert parse_axis("array=64x64,128x32") == Axis("array", ("64x64", "128x32"))
    assert parse_axis("dac.signed=true,false") == Axis("dac.signed", (True, False))
    assert parse_axis("mapping.pedestal=digital") == Axis("mapping.pedestal", ("digital",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("levels", "is not NAME=VALUE,VALUE"),
        ("=8", "is not NAME=VALUE,VALUE"),
        ("levels=8,,16", "is not NAME=VALUE,VALUE"),
        ("level=8", r"level: no such parameter \(did you mean levels\?\)"),
        ("adc.bit=8", r"did you mean adc.bits\?"),
        ("sigma=0.05,5e-2", "a value is given twice"),
    ],
)
def test_what_is_no_axis_is_refused(text, words) -> None:
    with pytest.raises(UsageError, match=words):
        parse_axis(text)


def test_points_are_all_combinations_and_make_chips() -> None:
    axes = [parse_axis(t) for t in ("levels=8,16", "array=64x32", "adc.bits=6,7,8")]
    found = points(BASE, axes)
    assert [tuple(point.values()) for point in found] == [
        (levels, "64x32", bits) for levels in (8, 16) for bits in (6, 7, 8)
    ]
    assert chip_at(BASE, found[1]) == BASE.with_levels(8).with_array(64, 32).with_(
        **{"adc.bits": 7}
    )
    point: Point = {"mapping": "differential", "sigma": 0.1, "dac.signed": False}
    wanted = BASE.with_mapping("differential").with_sigma(0.1).with_(**{"dac.signed": False})
    assert chip_at(BASE, point) == wanted
    assert chip_at(BASE, {}) == BASE


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["levels=8,1"], "cell.levels"),
        (["levels=eight"], "cell.levels"),
        (["sigma=2"], "fraction_of_range"),
        (["array=64"], "64 is not two whole numbers"),
        (["array=0x64"], "array.rows"),
        (["mapping=other"], "mapping.kind"),
        (["adc.bits=6.5", "levels=8,16"], "adc.bits"),
    ],
)
def test_values_that_make_no_chip_are_refused(texts, words) -> None:
    with pytest.raises(ChipError, match=words):
        points(BASE, [parse_axis(text) for text in texts])


def test_values_that_only_some_combinations_cannot_have_are_left_to_the_points() -> None:
    listed = BASE.with_(
        **{"cell.levels": 4, "cell.spacing": "table", "cell.g_levels_us": [2.0, 9.0, 20.0, 40.0]}
    )
    axes = [parse_axis("cell.g_max_us=40,50"), parse_axis("cell.spacing=table,linear")]
    changed = listed.with_(**{"cell.spacing": "linear", "cell.g_levels_us": []})
    assert len(points(changed, [axes[0]])) == 2
    with pytest.raises(ChipError, match="end with g_max_us"):
        points(listed, [axes[0]])
    mixed = [
        parse_axis("faults.stuck_gmax_rate=0.1,0.9"),
        parse_axis("faults.stuck_gmin_rate=0,0.5"),
    ]
    assert len(points(BASE, mixed)) == 4
    with pytest.raises(ChipError, match="must not exceed 1"):
        chip_at(BASE, points(BASE, mixed)[3])


def test_a_grid_needs_every_parameter_once() -> None:
    with pytest.raises(UsageError, match="levels is given twice"):
        points(BASE, [parse_axis("levels=8"), parse_axis("levels=16")])
    with pytest.raises(UsageError, match="no parameter"):
        points(BASE, [])
