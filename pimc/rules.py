"""What must hold of a plan after each pass.

A rule is a function whose docstring is both its documentation and its error message; it
yields the places where it is broken. The pipeline checks, after a pass, every rule of the
stages done so far: no later pass may break what an earlier one established.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from pimc.chip import Chip
from pimc.errors import PlanError
from pimc.mapping import codebook
from pimc.plan import Plan, Tile, array_nodes, layer_of

Rule = Callable[[Plan, Chip], Iterable[str]]


def names_are_unique(plan: Plan, chip: Chip) -> Iterator[str]:
    """every layer has a name of its own"""
    seen: set[str] = set()
    for layer in plan.layers:
        if layer.name in seen:
            yield layer.name
        seen.add(layer.name)


def nodes_match_layers(plan: Plan, chip: Chip) -> Iterator[str]:
    """the graph's array nodes are the plan's layers, first used in the same order"""
    nodes = [layer_of(node) for node in array_nodes(plan.graph)]
    if list(dict.fromkeys(nodes)) != [layer.name for layer in plan.layers]:
        yield plan.model_name


def weights_are_finite(plan: Plan, chip: Chip) -> Iterator[str]:
    """weights have the shape (groups, rows, cols) and are finite"""
    for layer in plan.layers:
        shape = (layer.groups, layer.rows, layer.cols)
        if layer.weight.shape != shape or not np.isfinite(layer.weight).all():
            yield layer.name


def codes_are_in_the_codebook(plan: Plan, chip: Chip) -> Iterator[str]:
    """every code and zero names an entry of the mapping's codebook"""
    count = len(codebook(chip).values_us)
    for layer, quantized in zip(plan.layers, plan.quantized, strict=True):
        if max(quantized.codes.max(initial=0), quantized.zero.max(initial=0)) >= count:
            yield layer.name


def ranges_are_positive(plan: Plan, chip: Chip) -> Iterator[str]:
    """scales and converter ranges are positive and finite"""
    for layer, quantized in zip(plan.layers, plan.quantized, strict=True):
        dynamic = quantized.input_scale is None
        ranges = [quantized.adc_lsb_us, 1.0 if dynamic else quantized.input_scale]
        if quantized.adc_column_lsb_us is not None:
            ranges += quantized.adc_column_lsb_us.reshape(-1).tolist()
        values = np.array([*quantized.scale.tolist(), *ranges], np.float64)
        if not (np.isfinite(values).all() and values.min() > 0):
            yield layer.name


def tiles_cover_layers(plan: Plan, chip: Chip) -> Iterator[str]:
    """the tiles of a layer cover each of its cells once"""
    book = codebook(chip)
    tiles: dict[int, list[Tile]] = {}
    for tile in plan.tiles:
        tiles.setdefault(tile.layer, []).append(tile)
    if not all(0 <= number < len(plan.layers) for number in tiles):
        yield plan.model_name
    for number, layer in enumerate(plan.layers):
        shape = (layer.groups, layer.rows * book.row_planes, layer.cols * book.col_planes)
        covered = np.zeros(shape, np.bool_)
        area = 0
        for t in tiles.get(number, []):
            if t.group not in range(layer.groups) or min(t.row, t.col) < 0:
                continue  # outside: its area is missing
            covered[t.group, t.row : t.row + t.rows, t.col : t.col + t.cols] = True
            area += t.rows * t.cols
        # As much area as there are cells, and none left out: none covered twice either.
        if area != covered.size or not covered.all():
            yield layer.name


def tiles_fit_arrays(plan: Plan, chip: Chip) -> Iterator[str]:
    """no tile is larger than an array, or has more rows than one read may drive"""
    rows = chip.array.driven_rows
    for number, tile in enumerate(plan.tiles):
        if tile.rows > rows or tile.cols > chip.array.cols:
            yield f"tile {number}"


def places_do_not_overlap(plan: Plan, chip: Chip) -> Iterator[str]:
    """every tile lies inside its array and no cell belongs to two tiles"""
    rows, cols = chip.array.rows, chip.array.cols
    taken = np.zeros((plan.arrays, rows, cols), np.bool_)
    for number, (tile, place) in enumerate(zip(plan.tiles, plan.places, strict=True)):
        if not (
            0 <= place.array < plan.arrays
            and 0 <= place.row <= rows - tile.rows
            and 0 <= place.col <= cols - tile.cols
        ):
            yield f"tile {number}"
            continue
        area = taken[place.array, place.row :, place.col :][: tile.rows, : tile.cols]
        if area.any():
            yield f"tile {number}"
        area[:] = True


def lines_are_distinct(plan: Plan, chip: Chip) -> Iterator[str]:
    """moved tiles keep to their array, and no cell belongs to two tiles"""
    rows, cols = chip.array.rows, chip.array.cols
    taken = np.zeros((plan.arrays, rows, cols), np.bool_)
    for number, (tile, place, lines) in enumerate(
        zip(plan.tiles, plan.places, plan.lines, strict=True)
    ):
        wordlines = place.row + np.arange(tile.rows) if lines is None else lines.wordlines
        bitlines = place.col + np.arange(tile.cols) if lines is None else lines.bitlines
        if not (
            0 <= place.array < plan.arrays
            and _distinct(wordlines, tile.rows, rows)
            and _distinct(bitlines, tile.cols, cols)
        ):
            yield f"tile {number}"
            continue
        cells = np.ix_(wordlines, bitlines)
        if taken[place.array][cells].any():
            yield f"tile {number}"
        taken[place.array][cells] = True


def _distinct(lines: npt.NDArray[np.integer], count: int, available: int) -> bool:
    """Whether ``lines`` are ``count`` different ones of ``available``."""
    numbers = set(lines.tolist())
    return len(lines) == len(numbers) == count and numbers <= set(range(available))


def every_tile_is_read_once(plan: Plan, chip: Chip) -> Iterator[str]:
    """every tile is read in exactly one step, of its own layer"""
    read = sorted(tile for step in plan.schedule for tile in step.tiles)
    if read != list(range(len(plan.tiles))):
        yield plan.model_name
        return
    for number, step in enumerate(plan.schedule):
        if {plan.tiles[tile].layer for tile in step.tiles} != {step.layer}:
            yield f"step {number}"


#: Stages in the order in which they run, with the rules that hold from then on.
RULES: dict[str, tuple[Rule, ...]] = {
    "frontend": (),
    "simplify": (),
    "lower": (),
    "partition": (names_are_unique, nodes_match_layers, weights_are_finite),
    "quantize": (codes_are_in_the_codebook, ranges_are_positive),
    "tile": (tiles_cover_layers, tiles_fit_arrays),
    "pack": (places_do_not_overlap,),
    "place": (),
    "cells": (lines_are_distinct,),
    "schedule": (every_tile_is_read_once,),
}


def check(plan: Plan, chip: Chip) -> None:
    """Check the rules of the plan's stage and of all before it.

    Raises:
        PlanError: a rule is broken; the error names the stage, the rule and the places.
    """
    stages = list(RULES)
    done = stages[: stages.index(plan.stage) + 1]
    for rule in dict.fromkeys(rule for stage in done for rule in RULES[stage]):
        broken = list(rule(plan, chip))
        if broken:
            raise PlanError(
                f"after {plan.stage}: it does not hold that {rule.__doc__}",
                where=", ".join(broken[:5]),
                hint="this is a mistake in pimc; please report it",
            )
