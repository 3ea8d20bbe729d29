"""Rules of tiles, on images that are laid out in other ways than the compiler would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pimc.image.image import Image
from pimc.image.rules.tiles import (
    lines_lie_in_arrays,
    tiles_cover_layers,
    tiles_do_not_overlap,
    tiles_lie_in_arrays,
)
from tests.pimc.image.tiny_images import TILES, tensors, tiny

RULES = (tiles_cover_layers, tiles_lie_in_arrays, lines_lie_in_arrays, tiles_do_not_overlap)


def problems(**changed: Any) -> list[str]:
    image = Image.build(tiny().manifest, tensors() | changed)
    found = []
    for rule in RULES:
        found = [*rule(image)]
        if found:
            break
    return found


def table(*rows: list[int]) -> np.ndarray[Any, Any]:
    return np.array(rows, np.int32)


def test_columns_may_be_cut_anywhere() -> None:
    """Row 0 and 1 in two tiles side by side, given in any order."""
    right, left = [0, 0, 0, 2, 1, 1, 0, 0, 1], [0, 0, 0, 2, 0, 1, 0, 0, 0]
    assert problems(tiles=table(right, TILES[1], left)) == []
    assert "do not cover layer 0" in problems(tiles=table(right, TILES[1]))[0]
    assert "do not cover layer 0" in problems(tiles=table(left, TILES[1]))[0]
    assert "do not cover layer 0" in problems(tiles=table(right, left, left, TILES[1]))[0]


def test_a_row_block_that_is_left_out() -> None:
    assert problems(tiles=table(TILES[0])) == ["tensor tiles: they leave out rows of layer 0"]


@pytest.mark.parametrize(
    ("lines", "offsets", "message"),
    [
        ([1, 0, 1, 0], [0, -1], ""),
        ([0, 1, 0, 1], [1, -1], "line_offsets: that of tile 0 does not lie in lines"),
        ([0, 1, 0, 1], [-2, -1], "line_offsets: that of tile 0"),
        ([0, 2, 0, 1], [0, -1], "tensor lines: those of tile 0 are not different lines"),
        ([0, 0, 0, 1], [0, -1], "tensor lines: those of tile 0"),
        ([0, 1, 0, 4], [0, -1], "tensor lines: those of tile 0"),
        # The second tile lies on wordline 1, bitlines 2 and 3.
        ([0, 1, 0, 3], [0, -1], "two tiles hold the same cells of array 0"),
    ],
)
def test_moved_lines(lines: list[int], offsets: list[int], message: str) -> None:
    found = problems(lines=np.array(lines, np.int32), line_offsets=np.array(offsets, np.int32))
    assert bool(found) == bool(message)
    assert all(message in text for text in found)


def test_overlap_is_found_as_counting_every_cell_finds_it(tiny_image: Image) -> None:
    """Tiles moved at random; the mask of all cells is the reference."""
    rng, shape = np.random.default_rng(0), tiny_image.chip.array
    sizes, verdicts = tiny_image.tiles, []
    for _ in range(200):
        array = rng.integers(0, tiny_image.arrays, len(sizes)).astype(np.int32)
        row = rng.integers(0, shape.rows - sizes.rows + 1).astype(np.int32)
        col = rng.integers(0, shape.cols - sizes.cols + 1).astype(np.int32)
        some = rng.choice(len(sizes), 4, replace=False)
        tiles = replace(sizes, array=array, array_row=row, array_col=col).chosen(some)
        moved = {**tiny_image.tensors, "tiles": tiles.table()}
        held = np.zeros((tiny_image.arrays, shape.rows, shape.cols), np.int64)
        for n in range(4):
            tile, place = tiles.tile(n), tiles.place(n)
            held[place.array, place.row :, place.col :][: tile.rows, : tile.cols] += 1
        found = [*tiles_do_not_overlap(Image.build(tiny_image.manifest, moved))]
        assert bool(found) == bool((held > 1).any())
        verdicts.append(bool(found))
    assert 20 < sum(verdicts) < 180
