"""Differences of images: everything that runs counts, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pimc.api import compile
from pimc.errors import ImageError
from pimc.image.changes import Changes, alike, changes
from pimc.image.image import Image

Array = np.ndarray[Any, Any]


def with_tensors(image: Image, **tensors: Array) -> Image:
    return Image.build(image.manifest, {**image.tensors, **tensors})


def with_layer(image: Image, **values: Any) -> Image:
    return image.with_layers([replace(image.layers[0], **values)])


def scheduled_apart(image: Image) -> Image:
    """Every tile is read in a step of its own."""
    steps = np.arange(len(image.schedule.step), dtype=np.int32)
    return with_tensors(image, schedule=replace(image.schedule, step=steps).table())


def moved(image: Image) -> Image:
    """The first tile's first two rows change places, on cells that all hold the same level."""
    tile, place = image.tiles.tile(0), image.tiles.place(0)
    wordlines = place.row + np.array([1, 0, *range(2, tile.rows)])
    lines = np.concatenate([wordlines, place.col + np.arange(tile.cols)]).astype(np.int32)
    offsets = np.full(len(image.tiles), -1, np.int32)
    offsets[0] = 0
    return with_tensors(image, lines=lines, line_offsets=offsets)


def names(found: Changes) -> set[str]:
    return {what for fields in found.digital.values() for what in fields}


@pytest.fixture
def image(tiny_image: Image) -> Image:
    """All cells at one level, so that only what is not a level can differ."""
    return tiny_image.updated(levels=np.where(tiny_image.used, 3, 0).astype(np.uint16))


def test_an_image_does_not_differ_from_itself(image: Image) -> None:
    found = changes(image, image)
    assert not found.any
    assert found.digital == {}


def test_the_teacher_does_not_run(image: Image) -> None:
    without = image.with_layers(
        replace(layer, teacher_weight=None, teacher_bias=None) for layer in image.layers
    )
    assert len(without.tensors) < len(image.tensors)
    assert not changes(image, without).any


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (scheduled_apart, "schedule"),
        (moved, "cells"),
        (lambda image: with_layer(image, input_scale=1.0), "input_scale"),
        (lambda image: with_layer(image, col_block=2), "col_block"),
    ],
)
def test_what_runs_counts_where_the_levels_are_equal(
    image: Image, change: Callable[[Image], Image], what: str
) -> None:
    found = changes(image, change(image))
    assert len(found.array) == 0
    assert found.any
    assert what in names(found)


def test_another_window_and_row_correction(image: Image) -> None:
    layer = image.layers[0]
    assert layer.window is not None
    window = replace(layer.window, strides=(1, 1))
    assert names(changes(image, with_layer(image, window=window))) == {"window"}
    correction = np.zeros((layer.groups, layer.col_blocks, layer.rows), np.float32)
    other = with_layer(image, row_correction=correction)
    assert names(changes(image, other)) == {"row_correction"}


def test_the_same_tiles_under_other_numbers_are_the_same(image: Image) -> None:
    """Tiles in reverse order with the schedule renumbered read the same cells at the same time."""
    tiles = image.tiles.table()[::-1]
    schedule = replace(image.schedule, tile=len(tiles) - 1 - image.schedule.tile).table()
    assert not changes(image, with_tensors(image, tiles=tiles, schedule=schedule)).any


def test_levels_of_one_network_go_together_whatever_was_done_to_it() -> None:
    rng = np.random.default_rng(0)
    for levels in (2, 4, 16):
        one = np.clip(np.rint(levels / 2 + levels / 6 * rng.standard_normal(2000)), 0, levels - 1)
        few = np.where(rng.random(2000) < 0.15, rng.permutation(one), one)
        little = np.clip(one + rng.integers(-1, 2, 2000) * (levels > 2), 0, levels - 1)
        for two in (one, few, *([little] if levels > 4 else [])):
            assert alike(one.astype(int), two.astype(int)), levels
        for two in (rng.permutation(one), levels - 1 - one):
            assert not alike(one.astype(int), two.astype(int)), levels
    same = np.full(10, 3)
    assert alike(same, same)
    assert not alike(same, np.arange(10))
    assert alike(same[:0], same[:0])


def of_model(image: Image, **values: str) -> Image:
    return image.updated(model=dict(image.manifest["model"]) | values)


def test_images_of_different_networks_are_not_compared(tiny_model, tiny_image, tiny_inputs) -> None:
    other = compile(tiny_model(seed=1), tiny_image.chip, calib=tiny_inputs)
    with pytest.raises(ImageError, match=r"different networks: tiny.onnx \(3 layers, "):
        changes(tiny_image, other)
    # What was trained on is another model, and the same network.
    tuned = of_model(tiny_image.updated(levels=few_changed(tiny_image)), sha256="1" * 64)
    assert 0 < len(changes(tiny_image, tuned).array) <= 40


def few_changed(image: Image) -> Array:
    levels = image.levels.copy()
    where = tuple(np.argwhere(image.used)[::10].T)
    levels[where] ^= 1
    return levels
