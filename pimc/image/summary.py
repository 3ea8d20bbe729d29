"""What an image holds, as numbers: the same for ``compile``, ``info`` and reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pimc.chip.layer_mapping import spelled
from pimc.chip.write_cost import writing
from pimc.image import estimate
from pimc.image.cost import (
    Cost,
    activations,
    array_area_um2,
    inference,
    layer_areas_um2,
    layer_costs,
    positions,
)
from pimc.image.image import Image

__all__ = ["summarize"]


def summarize(image: Image) -> dict[str, Any]:
    """The JSON object of an image.

    ``cells_used`` counts the cells that hold a weight, ``cell_utilization`` is their share of
    the arrays in use, ``read_steps`` the activations of arrays that one pass over all layers
    takes. ``quantization_error`` and ``programming_error`` are expected squared errors of the
    weights over their squares; energy and latency are None where shapes are not known, areas where
    the chip states none.
    """
    manifest, chip = image.manifest, image.chip
    cells = estimate.cells_used(image)
    counts = estimate.level_counts(image)
    places = positions(image)
    costs = layer_costs(image, counts, places)
    cost, areas = inference(image, costs), layer_areas_um2(image)
    area = array_area_um2(chip)
    layers = _layers(image, counts, places, costs, areas)
    reads = activations(image.tiles, image.schedule)
    return {
        "model": image.model.name,
        "model_sha256": image.model.sha256,
        "sha256": image.sha256,
        "format_version": manifest["version"],
        "chip": chip.name,
        "array": [chip.array.rows, chip.array.cols],
        "levels": chip.cell.levels,
        "mapping": chip.mapping.kind,
        "cells_a_weight": _cells_a_weight(image),
        "options": image.options,
        "calibrated": image.calibrated,
        "teacher": all(layer.teacher_weight is not None for layer in image.layers),
        "recovery": manifest["recovery"],
        "drift": manifest.get("drift"),
        "arrays_used": image.arrays,
        "arrays_available": chip.hierarchy.arrays,
        "phases": len(image.phases),
        "arrays_at_once": image.arrays_at_once,
        "reprogramming": _reprogramming(image, counts),
        "cells_used": cells,
        "cell_utilization": cells / (image.arrays * chip.array.rows * chip.array.cols),
        "read_steps": len(reads.step),
        "quantization_error": _mean(layers, "quantization_error"),
        "programming_error": _mean(layers, "programming_error"),
        "energy_pj": None if cost is None else cost.energy_pj,
        "energy_parts_pj": None
        if cost is None
        else {"dac": cost.dac_pj, "adc": cost.adc_pj, "array": cost.array_pj},
        "latency_ns": None if cost is None else cost.latency_ns,
        "area_um2": None if area is None else area * image.arrays_at_once,
        "layers": layers,
    }


def _cells_a_weight(image: Image) -> float:
    """Mean over all weights."""
    weights = [layer.groups * layer.rows * layer.cols for layer in image.layers]
    return float(np.average([layer.planes for layer in image.layers], weights=weights))


def _reprogramming(image: Image, counts: list[estimate.Counts]) -> dict[str, Any] | None:
    """What it costs to write every phase once, as each pass over the network does."""
    if len(image.phases) == 1:
        return None
    levels = sum(count.sum(axis=(0, 1)) for count in counts)
    cost = writing(image.chip, levels)
    return {
        "cells": int(np.sum(levels)),
        "seconds": cost.seconds,
        "energy_pj": cost.energy_pj,
    }


def _layers(
    image: Image,
    counts: list[estimate.Counts],
    places: Mapping[str, int | None],
    costs: list[Cost | None],
    areas: list[float] | None,
) -> list[dict[str, Any]]:
    tiles = image.tiles
    return [
        {
            "name": layer.name,
            "op": layer.op,
            "rows": layer.rows,
            "cols": layer.cols,
            "groups": layer.groups,
            "mapping": spelled(layer.mapping),
            "cells_a_weight": layer.planes,
            "tiles": len(tiles.of_layer(layer.index)),
            "arrays": len(np.unique(tiles.array[tiles.of_layer(layer.index)])),
            "positions": places[layer.name],
            "quantization_error": layer.weight_error,
            "programming_error": estimate.programming_error(image, layer, counts[layer.index]),
            "energy_pj": None if cost is None else cost.energy_pj,
            "latency_ns": None if cost is None else cost.latency_ns,
            "area_um2": None if areas is None else areas[layer.index],
        }
        for layer, cost in zip(image.layers, costs, strict=True)
    ]


def _mean(layers: list[dict[str, Any]], key: str) -> float:
    """Mean over layers, each counted by its weights."""
    weights = [entry["groups"] * entry["rows"] * entry["cols"] for entry in layers]
    return float(np.average([entry[key] for entry in layers], weights=weights))
