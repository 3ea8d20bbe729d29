"""Emit: the finished plan as a chip image."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pimc.chip.codebook import Codebook, codebooks
from pimc.chip.design import Chip
from pimc.chip.layer_mapping import own_mapping
from pimc.files.container import Content, Deferred
from pimc.image.format.notes import CalibrationNote, SourceModel
from pimc.image.format.tables import line_tables
from pimc.image.format.tensors import ImageTensors
from pimc.image.image import Image
from pimc.image.layer import LayerRecord
from pimc.image.parts import ImageParts
from pimc.passes.emit.levels import array_bytes, packed_levels
from pimc.passes.emit.row_by_row import row_by_row
from pimc.passes.graph.serialize import graph_bytes
from pimc.passes.layout.tables import schedule_table, tile_table
from pimc.passes.layout.tile import block_size
from pimc.plan.records import Layer, Plan, Quantized


def emit(
    plan: Plan,
    chip: Chip,
    options: Mapping[str, Any],
    *,
    teacher: bool = True,
    calibration: CalibrationNote | None = None,
) -> Image:
    """The image of a finished plan, in memory.

    Args:
        options: what the user chose; goes into the manifest as it is.
        teacher: keep the float weights beside the levels, which recovery distills from.
        calibration: how the calibration data were prepared, where there were any.
    """
    parts = _parts(plan, chip, options, teacher, calibration)
    tensors = {
        name: content.array() if isinstance(content, Deferred) else content
        for name, content in parts.contents().items()
    }
    return Image.build(parts.manifest(), tensors)


def emit_to(
    path: str | Path,
    plan: Plan,
    chip: Chip,
    options: Mapping[str, Any],
    *,
    teacher: bool = True,
    calibration: CalibrationNote | None = None,
) -> Image:
    """Write the image of a finished plan as it is worked out; what is in memory is little.

    The arguments are those of :func:`emit`.

    Returns:
        The image, read from the file when it is looked at.

    Raises:
        UsageError: the file cannot be written.
    """
    parts = _parts(plan, chip, options, teacher, calibration)
    return Image.written(path, parts.manifest(), parts.contents())


def _parts(
    plan: Plan,
    chip: Chip,
    options: Mapping[str, Any],
    teacher: bool,
    calibration: CalibrationNote | None,
) -> ImageParts:
    own = {"passes": [dict(note) for note in plan.own_passes]} if plan.own_passes else {}
    books = codebooks(chip, (layer.mapping for layer in plan.layers))
    return ImageParts(
        chip=chip,
        model=SourceModel(plan.model_name, plan.model_sha256),
        options={**options, **own},
        layers=[
            _layer(index, layer, quantized, chip, book, teacher)
            for index, (layer, quantized, book) in enumerate(
                zip(plan.layers, plan.quantized, books, strict=True)
            )
        ],
        provenance=plan.provenance,
        tensors=_tensors(plan, chip),
        phases=plan.phases,
        calibration=calibration,
    )


def _tensors(plan: Plan, chip: Chip) -> ImageTensors[Content]:
    levels = partial(packed_levels, plan, chip)
    lines, line_offsets = line_tables(plan.lines)
    return ImageTensors(
        graph=graph_bytes(plan.graph),
        levels=Deferred(np.dtype(np.uint8), (plan.arrays, array_bytes(chip)), levels),
        tiles=tile_table(plan).table(),
        schedule=schedule_table(plan).table(),
        lines=lines,
        line_offsets=line_offsets,
    )


def _layer(
    index: int, layer: Layer, quantized: Quantized, chip: Chip, book: Codebook, teacher: bool
) -> LayerRecord[Content]:
    height, width = block_size(chip, book)
    rows = partial(row_by_row, layer.weight)
    weight = Deferred(np.dtype(np.float32), layer.weight.shape, rows)
    return LayerRecord(
        index=index,
        name=layer.name,
        output=layer.output,
        op=layer.op,
        groups=layer.groups,
        rows=layer.rows,
        cols=layer.cols,
        mapping=own_mapping(layer.mapping or chip.mapping),
        planes=book.planes,
        row_block=min(height, layer.rows * book.row_planes),
        col_block=width,
        window=layer.window,
        input_scale=quantized.input_scale,
        input_signed=quantized.input_signed,
        adc_lsb_us=quantized.adc_lsb_us,
        weight_error=quantized.weight_error,
        zero=quantized.zero,
        scale=quantized.scale,
        gain=quantized.gain,
        bias=quantized.bias,
        adc_column_lsb_us=quantized.adc_column_lsb_us,
        teacher_weight=weight if teacher else None,
        teacher_bias=layer.bias if teacher else None,
    )
