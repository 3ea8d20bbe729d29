"""Emit: the finished plan as a chip image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pimc.chip.codebook import codebook
from pimc.chip.design import Chip
from pimc.files.container import Content, Deferred, Tensor
from pimc.image.image import (
    COLUMN_FIELDS,
    Image,
    layer_tensor,
)
from pimc.passes.emit.levels import array_bytes, packed_levels
from pimc.passes.emit.row_by_row import row_by_row
from pimc.passes.graph.serialize import graph_bytes
from pimc.passes.layout.tables import schedule_table, tile_table
from pimc.passes.layout.tile import block_size
from pimc.plan.records import Plan


def emit(plan: Plan, chip: Chip, options: Mapping[str, Any], *, teacher: bool = True) -> Image:
    """The image of a finished plan, in memory.

    Args:
        options: what the user chose; goes into the manifest as it is.
        teacher: keep the float weights beside the levels, which recovery distills from.
    """
    tensors = {
        name: content.array() if isinstance(content, Deferred) else content
        for name, content in _contents(plan, chip, teacher).items()
    }
    return Image.build(_manifest(plan, chip, options), tensors)


def emit_to(
    path: str | Path, plan: Plan, chip: Chip, options: Mapping[str, Any], *, teacher: bool = True
) -> Image:
    """Write the image of a finished plan as it is worked out; what is in memory is little.

    The arguments are those of :func:`emit`.

    Returns:
        The image, read from the file when it is looked at.

    Raises:
        UsageError: the file cannot be written.
    """
    return Image.written(path, _manifest(plan, chip, options), _contents(plan, chip, teacher))


def _contents(plan: Plan, chip: Chip, teacher: bool) -> dict[str, Content]:
    tensors: dict[str, Content] = {
        "graph": graph_bytes(plan.graph),
        "levels": Deferred(
            np.dtype(np.uint8),
            (plan.arrays, array_bytes(chip)),
            partial(packed_levels, plan, chip),
        ),
        "tiles": tile_table(plan),
        "schedule": schedule_table(plan),
        **_lines(plan),
    }
    for index, (layer, quantized) in enumerate(zip(plan.layers, plan.quantized, strict=True)):
        tensors |= {layer_tensor(index, f): getattr(quantized, f) for f in COLUMN_FIELDS}
        if quantized.adc_column_lsb_us is not None:
            tensors[layer_tensor(index, "adc_column_lsb_us")] = quantized.adc_column_lsb_us
        if teacher:
            weight = Deferred(
                np.dtype(np.float32), layer.weight.shape, partial(row_by_row, layer.weight)
            )
            tensors[layer_tensor(index, "teacher_weight")] = weight
            tensors[layer_tensor(index, "teacher_bias")] = layer.bias
    return tensors


def _manifest(plan: Plan, chip: Chip, options: Mapping[str, Any]) -> dict[str, Any]:
    phases = {"phases": list(plan.phases)} if len(plan.phases) > 1 else {}
    own = {"passes": [dict(note) for note in plan.own_passes]} if plan.own_passes else {}
    return {
        **phases,
        "chip": chip.to_dict(),
        "model": {"name": plan.model_name, "sha256": plan.model_sha256},
        "options": {**options, **own},
        "layers": _layers(plan, chip),
        "provenance": plan.provenance,
        "recovery": None,
    }


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
