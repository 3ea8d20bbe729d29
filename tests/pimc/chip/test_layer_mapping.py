"""Mappings of layers: what users write, and what a chip can hold."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.chip.codebook import codebook
from pimc.chip.design import Chip, LayerMapping
from pimc.chip.layer_mapping import (
    own_mapping,
    parse_mapping,
    require_mapping,
    spelled,
    with_mapping,
)
from pimc.errors import ChipError, PimcError, UsageError

BASE = Chip.default()
WRITTEN = {
    "offset": LayerMapping("offset"),
    "differential": LayerMapping("differential"),
    "differential:rows": LayerMapping("differential", pair="rows"),
    "differential:arrays": LayerMapping("differential", pair="arrays"),
    "sliced:2": LayerMapping("sliced", slices=2),
    "sliced:3": LayerMapping("sliced", slices=3),
    "sliced:2:8": LayerMapping("sliced", slices=2, slice_ratio=8),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_what_is_written_is_read_and_written_again(text: str) -> None:
    assert parse_mapping(text) == WRITTEN[text]
    assert spelled(WRITTEN[text]) == text


def test_what_is_not_written_is_as_the_chip_says() -> None:
    chip = BASE.with_(**{"mapping.kind": "sliced", "mapping.slices": 3, "mapping.slice_ratio": 4})
    assert parse_mapping("sliced", chip) == LayerMapping("sliced", slices=3, slice_ratio=4)
    assert parse_mapping("sliced:2", chip) == LayerMapping("sliced", slices=2, slice_ratio=4)
    assert parse_mapping("differential", chip) == LayerMapping("differential")
    pairs = BASE.with_(**{"mapping.kind": "differential", "mapping.pair": "arrays"})
    assert parse_mapping("differential", pairs).pair == "arrays"
    assert parse_mapping("differential:columns", pairs).pair == "columns"
    assert parse_mapping("offset", pairs) == LayerMapping("offset")


@pytest.mark.parametrize(
    "text",
    ["", "odd", "offset:2", "sliced:x", "sliced:-2", "sliced:2:", "sliced:2:8:1", "sliced:²"],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not one of offset, differential, sliced"):
        parse_mapping(text)


@pytest.mark.parametrize("text", ["sliced:1", "sliced:9", "sliced:2:1", "differential:odd"])
def test_values_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(PimcError, match=r"slices|slice_ratio|pair"):
        parse_mapping(text)


def test_mappings_that_mean_the_same_are_the_same() -> None:
    chip = BASE.with_(**{"mapping.slices": 3, "mapping.slice_ratio": 4})
    assert own_mapping(chip.mapping) == LayerMapping("offset")
    assert own_mapping(LayerMapping("sliced", slices=3)).slices == 3


def test_a_chip_of_another_mapping() -> None:
    chip = with_mapping(BASE, "sliced:3:4")
    assert (chip.mapping.kind, chip.mapping.slices, chip.mapping.slice_ratio) == ("sliced", 3, 4)
    for kind in ("offset", "differential", "sliced"):
        assert with_mapping(BASE, kind) == BASE.with_mapping(kind)
    rows = with_mapping(BASE, "differential:rows")
    assert with_mapping(rows, "offset").mapping.pair == "columns"


def test_a_layer_has_the_codebook_of_its_own_mapping() -> None:
    for text, mapping in WRITTEN.items():
        one, other = codebook(BASE, mapping), codebook(with_mapping(BASE, text))
        np.testing.assert_array_equal(one.levels, other.levels)
        np.testing.assert_array_equal(one.coefficients, other.coefficients)
        assert (one.layout, one.reference_us) == (other.layout, other.reference_us)


def test_a_chip_says_what_it_cannot_hold() -> None:
    low, high = BASE.cell.g_min_us, BASE.cell.g_max_us
    table = {"cell.spacing": "table", "cell.g_levels_us": [low, low + 1.0, high]}
    uneven = BASE.with_(**{"cell.levels": 3, **table})
    with pytest.raises(ChipError, match=r"layer w, .*evenly spaced"):
        require_mapping(uneven, LayerMapping("sliced"), "layer w")
    require_mapping(uneven, LayerMapping("differential"), "layer w")
    with pytest.raises(ChipError, match=r"layer w, mapping.slices: 8 slices"):
        require_mapping(BASE, LayerMapping("sliced", slices=8), "layer w")
    rows = LayerMapping("differential", pair="rows")
    require_mapping(BASE.with_(**{"dac.signed": True}), rows, "layer w")
    with pytest.raises(ChipError, match=r"layer w: .*dac\.signed"):
        require_mapping(BASE.with_(**{"dac.signed": False}), rows, "layer w")
    digital = BASE.with_(**{"dac.signed": True, "mapping.pedestal": "digital"})
    with pytest.raises(ChipError, match=r"layer w: .*currents of both signs"):
        require_mapping(digital, rows, "layer w")
    require_mapping(with_mapping(digital, "differential:rows"), rows, "layer w")
