"""Array maps: every tile in its place with its layer's name, every cell with its level."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image as Picture

from pimc.image.image import Image
from pimc.reports.chapters import maps
from pimc.reports.chapters.maps import array_maps, colours


def pixels(text: str) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(base64.b64decode(text))))


def test_the_pictures_hold_the_levels(tiny_image: Image) -> None:
    found = array_maps(tiny_image, 10**6)
    assert len(found.maps) == tiny_image.arrays
    for one in found.maps:
        used = tiny_image.used[one.array]
        expected = np.where(used, tiny_image.levels[one.array], tiny_image.chip.cell.levels)
        assert (pixels(one.levels) == expected).all()


def test_tiles_lie_where_the_image_says(tiny_image: Image) -> None:
    found = array_maps(tiny_image, 10**6)
    tiles = tiny_image.tiles
    told = sorted(
        (one.array, tile.row, tile.col, tile.rows, tile.cols, tile.layer)
        for one in found.maps
        for tile in one.tiles
    )
    names = [layer.name for layer in tiny_image.layers]
    assert told == sorted(
        (int(tiles.array[n]), int(tiles.array_row[n]), int(tiles.array_col[n]),
         int(tiles.rows[n]), int(tiles.cols[n]), names[int(tiles.layer[n])])
        for n in range(len(tiles))
    )  # fmt: skip


def test_arrays_take_no_more_than_they_may(tiny_image: Image) -> None:
    whole = array_maps(tiny_image, 10**6)
    some = array_maps(tiny_image, 2 * len(whole.maps[0].levels))
    assert some.maps[0].levels
    assert not any(one.levels for one in some.maps[1:])
    least = array_maps(tiny_image, 0)
    assert [one.array for one in least.maps] == [0]
    assert least.maps[0].tiles == whole.maps[0].tiles
    assert not least.maps[0].levels
    assert "1 array is drawn without the levels" in least.note
    assert f"The first 1 of {tiny_image.arrays} arrays are drawn." in least.note


def test_rewritten_cells_are_seen_and_no_others(tiny_image: Image) -> None:
    cells = np.flatnonzero(tiny_image.used)[[3, 70]]
    found = array_maps(tiny_image, 10**6, cells)
    marked = np.zeros(tiny_image.used.size, bool)
    marked[cells] = True
    for one, expected in zip(found.maps, marked.reshape(tiny_image.used.shape), strict=True):
        assert bool(one.rewritten) == expected.any()
        if one.rewritten:
            assert (pixels(one.rewritten) == expected).all()


def test_no_more_arrays_are_drawn_than_anybody_looks_at(tiny_image: Image, monkeypatch) -> None:
    monkeypatch.setattr(maps, "MOST_ARRAYS", 2)
    found = array_maps(tiny_image, 10**6)
    assert len(found.maps) == 2
    assert f"The first 2 of {tiny_image.arrays} arrays are drawn." in found.note


def test_names_fit_their_tiles(tiny_image: Image) -> None:
    for one in array_maps(tiny_image, 10**6).maps:
        for tile in one.tiles:
            long = tile.rows if tile.turned else tile.cols
            assert len(tile.shown) * tile.size * 0.56 <= long


def test_every_level_has_a_colour_of_its_own() -> None:
    for levels in (2, 16, 255):
        assert len(np.unique(colours(levels), axis=0)) == levels + 1
