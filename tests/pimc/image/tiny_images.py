"""An image of one layer on one array, small enough to be written out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from pimc.chip.design import Chip
from pimc.files.weights.packing import pack_levels
from pimc.image.image import Image

CHIP = Chip.from_dict(
    {
        "schema": 1,
        "name": "tiny",
        "array": {"rows": 2, "cols": 4},
        "cell": {"levels": 4, "g_min_us": 2.0, "g_max_us": 32.0, "sigma": {"constant_us": 1.0}},
    }
)
LAYER: dict[str, Any] = {
    "name": "w",
    "output": "y",
    "op": "MatMul",
    "groups": 1,
    "rows": 3,
    "cols": 2,
    "planes": 1,
    "mapping": {"kind": "offset", "slices": 2, "pair": "columns"},
    "row_block": 2,
    "col_block": 4,
    "window": None,
    "input_scale": 0.5,
    "input_signed": True,
    "adc_lsb_us": 2.0,
    "weight_error": 0.0,
}
#: Layer 0: rows 0–1 at array 0, wordline 0, bitline 0; row 2 at array 0, wordline 1, bitline 2.
TILES = [[0, 0, 0, 2, 0, 2, 0, 0, 0], [0, 0, 2, 1, 0, 2, 0, 1, 2]]
LEVELS = [[[0, 1, 0, 0], [2, 3, 1, 2]]]


def tensors() -> dict[str, np.ndarray[Any, Any]]:
    levels = np.array(LEVELS, np.uint16)
    return {
        "graph": np.frombuffer(graph(), np.uint8),
        "levels": pack_levels(levels.reshape(1, -1), 2),
        "tiles": np.array(TILES, np.int32),
        "schedule": np.array([[0, 0], [1, 1]], np.int32),
        "layer.0000.zero": np.array([2, 2], np.uint16),
        "layer.0000.scale": np.array([0.25, 0.5], np.float32),
        "layer.0000.gain": np.ones(2, np.float32),
        "layer.0000.bias": np.array([0.0, -1.0], np.float32),
    }


def graph() -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])
    node = helper.make_node("Array", ["x"], ["y"], domain="pimc", layer="w")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("pimc", 1)]
    model = helper.make_model(
        helper.make_graph([node], "tiny", [x], [y]), opset_imports=opsets, ir_version=8
    )
    return model.SerializeToString(deterministic=True)


def tiny(**changes: Any) -> Image:
    manifest = {
        "chip": CHIP.to_dict(),
        "model": {"name": "tiny.onnx", "sha256": "0" * 64},
        "options": {},
        "layers": [LAYER],
        "provenance": {},
        "recovery": None,
    }
    return Image.build(manifest | changes, tensors())


def saved(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.pimc"
    tiny().save(path)
    return path
