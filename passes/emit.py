"""Emit: the finished plan as a chip image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.chip import Chip
from pimc.container import Tensor
from pimc.image import COLUMN_FIELDS, TILE_FIELDS, Image, layer_tensor
from pimc.mapping import codebook
from pimc.packing import bits_per_cell, pack_levels
from pimc.passes.map_cells import tile_levels
from pimc.passes.row_by_row import row_by_row
from pimc.passes.serialize import graph_bytes
from pimc.passes.tile import block_size
from pimc.plan import Plan


def emit(plan: Plan, chip: Chip, options: Mapping[str, Any], *, teacher: bool = True) -> Image:
    """The image of a finished plan.

    Args:
        options: what the user chose; goes into the manifest as it is.
        teacher: keep the float weights beside the levels, which recovery distills from.
    """
    tensors: dict[str, Tensor] = {
        "graph": np.frombuffer(graph_bytes(plan.graph), np.uint8),
        "levels": _levels(plan, chip),
        "tiles": _tile_table(plan),
        "schedule": _schedule(plan),
    }
    tensors |= _lines(plan)
    for index, (layer, quantized) in enumerate(zip(plan.layers, plan.quantized, strict=True)):
        tensors |= {layer_tensor(index, f): getattr(quantized, f) for f in COLUMN_FIELDS}
        if quantized.adc_column_lsb_us is not None:
            tensors[layer_tensor(index, "adc_column_lsb_us")] = quantized.adc_column_lsb_us
        if teacher:
            tensors[layer_tensor(index, "teacher_weight")] = row_by_row(layer.weight)
            tensors[layer_tensor(index, "teacher_bias")] = layer.bias
    manifest = {
        "chip": chip.to_dict(),
        "model": {"name": plan.model_name, "sha256": plan.model_sha256},
        "options": dict(options),
        "layers": _layers(plan, chip),
        "provenance": plan.provenance,
        "recovery": None,
    }
    return Image.build(manifest, tensors)


def _layers(plan: Plan, chip: Chip) -> list[dict[str, Any]]:
    height, width = block_size(chip)
    book = codebook(chip)
    return [
        {
            "name": layer.name,
            "output": layer.output,
            "op": layer.op,
            "groups": layer.groups,
            "rows": layer.rows,
            "cols": layer.cols,
            "planes": book.planes,
            "row_block": min(height, layer.rows * book.row_planes),
            "col_block": width,
            "window": asdict(layer.window) if layer.window else None,
            "input_scale": quantized.input_scale,
            "input_signed": quantized.input_signed,
            "adc_lsb_us": quantized.adc_lsb_us,
            "weight_error": quantized.weight_error,
        }
        for layer, quantized in zip(plan.layers, plan.quantized, strict=True)
    ]


def _levels(plan: Plan, chip: Chip) -> npt.NDArray[np.uint8]:
    rows, cols, bits = chip.array.rows, chip.array.cols, bits_per_cell(chip.cell.levels)
    inside: list[list[int]] = [[] for _ in range(plan.arrays)]
    for number, place in enumerate(plan.places):
        inside[place.array].append(number)
    packed = np.zeros((plan.arrays, -(-rows * cols * bits // 8)), np.uint8)
    array = np.zeros((rows, cols), np.uint16)
    for held, row in zip(inside, packed, strict=True):
        array[:] = 0
        for number in held:
            tile, place, lines = plan.tiles[number], plan.places[number], plan.lines[number]
            wanted = tile_levels(plan, chip, tile)
            if lines is None:
                array[place.row : place.row + tile.rows, place.col : place.col + tile.cols] = wanted
            else:
                array[np.ix_(lines.wordlines, lines.bitlines)] = wanted
        row[:] = pack_levels(array.reshape(1, -1), bits)[0]
    return packed


def _tile_table(plan: Plan) -> npt.NDArray[np.int32]:
    table = [
        (t.layer, t.group, t.row, t.rows, t.col, t.cols, p.array, p.row, p.col)
        for t, p in zip(plan.tiles, plan.places, strict=True)
    ]
    return np.asarray(table, np.int32).reshape(-1, len(TILE_FIELDS))


def _lines(plan: Plan) -> dict[str, Tensor]:
    """Wordlines and bitlines of the tiles that do not lie consecutively."""
    if not any(lines is not None for lines in plan.lines):
        return {}
    offsets, parts, length = [], [], 0
    for lines in plan.lines:
        offsets.append(-1 if lines is None else length)
        if lines is not None:
            parts += [lines.wordlines, lines.bitlines]
            length += len(lines.wordlines) + len(lines.bitlines)
    return {"lines": np.concatenate(parts), "line_offsets": np.asarray(offsets, np.int32)}


def _schedule(plan: Plan) -> npt.NDArray[np.int32]:
    """(reads, 2): read step and tile, in the order in which they happen."""
    pairs = [(number, tile) for number, step in enumerate(plan.schedule) for tile in step.tiles]
    return np.asarray(pairs, np.int32).reshape(-1, 2)
