"""What must hold of a plan after each pass.

A rule is a function whose docstring is both its documentation and its error message; it
yields the places where it is broken. Which rules hold from which stage on is said beside the
passes, in :mod:`pimc.passes.stages`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import codebooks
from pimc.chip.design import Chip
from pimc.plan.records import (
    Plan,
    Tile,
    array_nodes,
    bodies,
    layer_of,
)

if TYPE_CHECKING:
    import onnx_ir as ir

#: First row, rows, first column, columns.
_Block = tuple[int, int, int, int]
PlanRule = Callable[[Plan, Chip], Iterable[str]]


def values_are_defined(plan: Plan, chip: Chip) -> Iterator[str]:
    """every value that the graph reads or gives is defined before"""
    yield from undefined_values(plan.graph.graph)


def undefined_values(graph: ir.Graph, outside: frozenset[ir.Value] = frozenset()) -> Iterator[str]:
    """Names of values that a graph reads or gives and nothing before defines.

    Args:
        outside: values of the graphs around it.
    """
    known = {*outside, *graph.inputs, *graph.initializers.values()}
    for node in graph:
        read = [value for value in node.inputs if value is not None]
        yield from (value.name or node.name or "" for value in read if value not in known)
        for body in bodies(node):
            yield from undefined_values(body, frozenset(known))
        known.update(node.outputs)
    yield from (value.name or "" for value in graph.outputs if value not in known)


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


def weights_have_their_shape(plan: Plan, chip: Chip) -> Iterator[str]:
    """weights have the shape (groups, rows, cols), biases one entry a column"""
    for layer in plan.layers:
        shape = (layer.groups, layer.rows, layer.cols)
        if layer.weight.shape != shape or layer.bias.shape != (layer.groups * layer.cols,):
            yield layer.name


def layers_are_quantized(plan: Plan, chip: Chip) -> Iterator[str]:
    """every layer is quantized once, in vectors of one entry a column"""
    if len(plan.quantized) != len(plan.layers):
        yield plan.model_name
        return
    for layer, quantized in zip(plan.layers, plan.quantized, strict=True):
        vectors = (quantized.scale, quantized.gain, quantized.bias)
        columns = layer.groups * layer.cols
        if not (
            tuple(quantized.codes.shape) == (layer.groups, layer.rows, layer.cols)
            and _is(quantized.zero, np.uint16, (columns,))
            and all(_is(vector, np.float32, (columns,)) for vector in vectors)
            and _is(quantized.importance, np.float32, (layer.groups, layer.rows))
        ):
            yield layer.name


def _is(array: npt.NDArray[Any], kind: type[np.generic], shape: tuple[int, ...]) -> bool:
    return array.dtype == kind and array.shape == shape


def codes_are_in_the_codebook(plan: Plan, chip: Chip) -> Iterator[str]:
    """every code and zero names an entry of the codebook of its layer's mapping"""
    books = codebooks(chip, (layer.mapping for layer in plan.layers))
    for layer, quantized, book in zip(plan.layers, plan.quantized, books, strict=True):
        # Codes that are worked out when they are asked for are not, for this.
        codes = quantized.codes if isinstance(quantized.codes, np.ndarray) else quantized.zero
        if max(codes.max(initial=0), quantized.zero.max(initial=0)) >= len(book.values_us):
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
    books = codebooks(chip, (layer.mapping for layer in plan.layers))
    tiles: dict[int, list[Tile]] = {}
    for tile in plan.tiles:
        tiles.setdefault(tile.layer, []).append(tile)
    if not all(0 <= number < len(plan.layers) for number in tiles):
        yield plan.model_name
    for number, (layer, book) in enumerate(zip(plan.layers, books, strict=True)):
        shape = (layer.rows * book.row_planes, layer.cols * book.col_planes)
        own: list[list[Tile]] = [[] for _ in range(layer.groups)]
        inside = True
        for tile in tiles.get(number, []):
            if tile.group not in range(layer.groups):
                inside = False
                continue
            own[tile.group].append(tile)
        if not inside or not all(_covers(part, shape) for part in own):
            yield layer.name


def _covers(tiles: Sequence[Tile], shape: tuple[int, int]) -> bool:
    """Whether blocks lie inside ``shape`` and cover each of its cells once."""
    if any(min(t.row, t.col) < 0 or t.row + t.rows > shape[0] for t in tiles):
        return False
    if any(t.col + t.cols > shape[1] for t in tiles):
        return False
    # As much area as there are cells, and no cell twice: none left out either.
    area = sum(t.rows * t.cols for t in tiles)
    blocks = [(t.row, t.rows, t.col, t.cols) for t in tiles]
    return area == shape[0] * shape[1] and not _overlapping(blocks)


def _overlapping(blocks: Sequence[_Block]) -> list[int]:
    """Numbers of the blocks that have a cell in common with one before them.

    On the grid of all their edges, which is small where blocks are laid out in order.
    """
    if len(blocks) < 2:
        return []
    row, rows, col, cols = np.asarray(blocks, np.int64).T
    across, along = (
        np.unique(np.concatenate([first, first + size]))
        for first, size in ((row, rows), (col, cols))
    )
    top, bottom = np.searchsorted(across, row), np.searchsorted(across, row + rows)
    left, right = np.searchsorted(along, col), np.searchsorted(along, col + cols)
    taken = np.zeros((len(across), len(along)), np.bool_)
    found = []
    for number in range(len(blocks)):
        area = taken[top[number] : bottom[number], left[number] : right[number]]
        if area.any():
            found.append(number)
        area[:] = True
    return found


def tiles_fit_arrays(plan: Plan, chip: Chip) -> Iterator[str]:
    """no tile is larger than an array, or has more rows than one read may drive"""
    rows = chip.array.driven_rows
    for number, tile in enumerate(plan.tiles):
        if tile.rows > rows or tile.cols > chip.array.cols:
            yield f"tile {number}"


def tiles_have_places(plan: Plan, chip: Chip) -> Iterator[str]:
    """every tile has one place"""
    if len(plan.places) != len(plan.tiles):
        yield plan.model_name


def phases_follow_each_other(plan: Plan, chip: Chip) -> Iterator[str]:
    """phases begin with array 0 and have arrays each"""
    starts = plan.phases
    grow = all(start < following for start, following in pairwise(starts))
    if starts[:1] != (0,) or not grow or starts[-1] >= max(plan.arrays, 1):
        yield plan.model_name


def phases_fit_the_chip(plan: Plan, chip: Chip) -> Iterator[str]:
    """no phase takes more arrays than the chip has"""
    for start, end in pairwise((*plan.phases, plan.arrays)):
        if end - start > chip.hierarchy.arrays:
            yield f"array {start}"


def places_do_not_overlap(plan: Plan, chip: Chip) -> Iterator[str]:
    """every tile lies inside its array and no cell belongs to two tiles"""
    rows, cols = chip.array.rows, chip.array.cols
    held: dict[int, dict[int, _Block]] = {}
    for number, (tile, place) in enumerate(zip(plan.tiles, plan.places, strict=True)):
        if not (
            0 <= place.array < plan.arrays
            and 0 <= place.row <= rows - tile.rows
            and 0 <= place.col <= cols - tile.cols
        ):
            yield f"tile {number}"
            continue
        block = (place.row, tile.rows, place.col, tile.cols)
        held.setdefault(place.array, {})[number] = block
    for blocks in held.values():
        numbers = list(blocks)
        yield from (f"tile {numbers[n]}" for n in _overlapping(list(blocks.values())))


def tiles_have_lines(plan: Plan, chip: Chip) -> Iterator[str]:
    """every tile has lines, or lies consecutively"""
    if len(plan.lines) != len(plan.tiles):
        yield plan.model_name


def lines_are_distinct(plan: Plan, chip: Chip) -> Iterator[str]:
    """moved tiles keep to their array, and no cell belongs to two tiles"""
    if all(lines is None for lines in plan.lines):
        return  # no tile has moved
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
