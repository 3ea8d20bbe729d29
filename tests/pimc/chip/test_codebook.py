"""Codebooks: what each mapping promises of the conductances a weight can take."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.chip.codebook import by_weight, codebook, on_lines
from pimc.chip.design import Chip
from pimc.errors import ChipError

BASE = Chip.default()
KINDS = ("offset", "differential", "sliced")


def chip_of(
    kind: str,
    levels: int,
    pedestal: str = "reference",
    slices: int = 2,
    ratio: int | None = None,
) -> Chip:
    changes: dict[str, Any] = {"cell.levels": levels, "mapping.kind": kind}
    changes |= {"mapping.pedestal": pedestal, "mapping.slices": slices}
    if ratio is not None:
        changes["mapping.slice_ratio"] = min(ratio, levels)
    return BASE.with_(**changes)


chips = st.builds(
    chip_of,
    st.sampled_from(KINDS),
    st.integers(2, 20),
    st.sampled_from(["reference", "digital"]),
    st.integers(2, 3),
    st.none() | st.integers(2, 20),
)


def listed(levels_us: list[float]) -> Chip:
    ends = {"cell.g_min_us": levels_us[0], "cell.g_max_us": levels_us[-1]}
    rest = {"cell.levels": len(levels_us), "cell.spacing": "table", "cell.g_levels_us": levels_us}
    return BASE.with_(**ends, **rest)


@settings(deadline=None, max_examples=30)  # thousands of codes, one by one
@given(chips)
def test_a_code_is_the_weighted_sum_of_its_cells(chip: Chip) -> None:
    book = codebook(chip)
    assert book.levels.max() < chip.cell.levels
    assert book.planes == len(book.coefficients)
    assert len(np.unique(book.levels, axis=0)) == len(book.levels)
    for code, levels in enumerate(book.levels):
        cells = [chip.cell.g_levels_us[level] for level in levels]
        value = sum(c * g for c, g in zip(book.coefficients, cells, strict=True))
        assert book.values_us[code] == pytest.approx(value, abs=1e-9)
        variance = np.square(book.coefficients * chip.cell.sigma.sigma_us(cells)).sum()
        assert book.sigma_us[code] == pytest.approx(np.sqrt(variance))


@given(chips)
def test_values_increase(chip: Chip) -> None:
    assert (np.diff(codebook(chip).values_us) > 0).all()


@given(chips)
def test_the_middle_needs_no_pedestal_after_a_reference(chip: Chip) -> None:
    book = codebook(chip)
    every = np.arange(len(book.values_us), dtype=np.uint16)
    pedestal = book.pedestal_us(every)
    if chip.mapping.pedestal == "reference":
        assert pedestal[book.middle] == 0.0
        common = chip.cell.g_levels_us[chip.cell.levels // 2] * book.coefficients.sum()
        assert pedestal == pytest.approx(book.values_us - common, abs=1e-6)
    else:
        assert book.reference_us == 0.0
        assert pedestal == pytest.approx(book.values_us, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "codes", "planes"),
    [("offset", 16, 1), ("differential", 31, 2), ("sliced", 256, 2)],
)
def test_sizes(kind: str, codes: int, planes: int) -> None:
    book = codebook(chip_of(kind, 16))
    assert (len(book.values_us), book.planes) == (codes, planes)


def test_differential_is_symmetric_and_zero_means_two_cells_at_the_lowest_level() -> None:
    book = codebook(listed([1.0, 3.0, 8.0, 30.0]).with_mapping("differential"))
    assert np.allclose(book.values_us, -book.values_us[::-1])
    assert book.levels[book.middle].tolist() == [0, 0]
    assert book.values_us.tolist() == [-29, -7, -2, 0, 2, 7, 29]


def test_slices_count_in_base_levels_highest_first() -> None:
    book = codebook(chip_of("sliced", 4, slices=3))
    assert [tuple(row) for row in book.levels] == list(itertools.product(range(4), repeat=3))
    assert book.coefficients.tolist() == [16.0, 4.0, 1.0]


@given(st.integers(2, 16), st.integers(2, 16), st.integers(2, 4))
def test_overlapping_slices_leave_finer_cells_in_the_middle(
    levels: int, ratio: int, slices: int
) -> None:
    ratio = min(ratio, levels)
    book = codebook(chip_of("sliced", levels, slices=slices, ratio=ratio))
    top = levels - 1
    assert book.coefficients.tolist() == [ratio**k for k in reversed(range(slices))]
    step_us = BASE.with_levels(levels).cell.g_levels_us
    assert np.allclose(np.diff(book.values_us), step_us[1] - step_us[0])
    assert book.levels[0].max() == 0
    assert book.levels[-1].min() == top
    # Where the coarser cells are not at an end, the finer ones are half a ratio from the middle.
    inner = (book.levels[:, 0] > 0) & (book.levels[:, 0] < top)
    below = book.levels[inner, 1:] @ book.coefficients[1:]
    assert np.abs(below - top * book.coefficients[1:].sum() / 2).max(initial=0) <= (
        book.coefficients[0] / 2
    )


def test_slices_that_would_leave_gaps_are_refused() -> None:
    with pytest.raises(ChipError, match="gaps") as caught:
        codebook(BASE.with_(**{"mapping.kind": "sliced", "mapping.slice_ratio": 17}))
    assert caught.value.where == "mapping.slice_ratio"
    assert caught.value.hint == "16 at most"


def test_slices_of_uneven_levels_are_refused() -> None:
    with pytest.raises(ChipError, match="evenly spaced") as caught:
        codebook(listed([1.0, 3.0, 8.0, 30.0]).with_mapping("sliced"))
    assert caught.value.hint


def test_more_codes_than_an_image_can_name_are_refused() -> None:
    assert len(codebook(chip_of("sliced", 16, slices=4)).values_us) == 65536
    with pytest.raises(ChipError, match="65,536"):
        codebook(chip_of("sliced", 16, slices=5))
    with pytest.raises(ChipError, match="65,536"):
        codebook(chip_of("sliced", 512, slices=8))  # beyond 64 bits


LAYOUTS = ["columns", "rows", "arrays"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cells_on_lines_come_back_by_weight(layout: str) -> None:
    values = np.arange(2 * 3 * 5 * 2).reshape(2, 3, 5, 2)
    lines = on_lines(values, layout)
    assert lines.shape == {"columns": (2, 3, 10), "rows": (2, 6, 5), "arrays": (2, 3, 10)}[layout]
    assert np.array_equal(by_weight(lines, 2, layout), values)
    # The cells of row 1, column 3 of the second group.
    first = lines[1, 2 if layout == "rows" else 1, 6 if layout == "columns" else 3]
    second = lines[1, 3 if layout == "rows" else 1, {"columns": 7, "rows": 3, "arrays": 8}[layout]]
    assert [first, second] == values[1, 1, 3].tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_drive_and_factors_make_the_weight(layout: str) -> None:
    book = codebook(chip_of("differential", 4).with_(**{"mapping.pair": layout}))
    assert (book.row_planes, book.col_planes) == ((2, 1) if layout == "rows" else (1, 2))
    each = np.outer(book.drive, book.factors).reshape(-1)
    assert each.tolist() == book.coefficients.tolist() == [1.0, -1.0]
    values = np.arange(6.0).reshape(3, book.col_planes, -1)[..., 0]
    bitlines = book.on_bitlines(values)
    assert np.array_equal(book.by_output(bitlines), values)
    assert (bitlines.tolist() == values.reshape(-1).tolist()) == (layout != "arrays")
