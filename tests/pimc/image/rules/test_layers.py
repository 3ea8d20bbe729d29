"""Rules of layers, for mappings of several cells a weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pimc.api import compile as compile_model
from pimc.image.image import Image
from pimc.image.rules.layers import planes_are_those_of_the_mapping
from pimc.image.rules.sound import require_sound


@pytest.mark.parametrize(
    "keys",
    [
        {"mapping.kind": "differential"},
        {"mapping.kind": "differential", "mapping.pair": "rows"},
        {"mapping.kind": "differential", "mapping.pair": "arrays"},
        {"mapping.kind": "sliced", "mapping.slices": 2},
        {"array.active_rows": 5},
        {"adc.range": "column"},
    ],
    ids=str,
)
def test_images_of_every_mapping_are_sound(tiny_model, tiny_inputs, tiny_chip, keys) -> None:
    image = compile_model(tiny_model(), tiny_chip.with_(**keys), calib=tiny_inputs)
    require_sound(image)
    for layer in image.layers:
        assert layer.col_blocks == layer.block_of_bitline.max() + 1
    other = image.updated(layers=[{**entry, "planes": 3} for entry in image.manifest["layers"]])
    (first, *_) = planes_are_those_of_the_mapping(other)
    assert first.startswith("planes: 3 of layer 0")


def test_an_image_without_layers_is_sound(tiny_image: Image) -> None:
    """A network with nothing on the array."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4]) for n in ("x", "y"))
    model = helper.make_model(
        helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "plain", [x], [y])
    )
    packed = tiny_image.packed_levels.shape[1]
    nothing: dict[str, np.ndarray[Any, Any]] = {
        "graph": np.frombuffer(model.SerializeToString(), np.uint8),
        "levels": np.zeros((0, packed), np.uint8),
        "tiles": np.zeros((0, 9), np.int32),
        "schedule": np.zeros((0, 2), np.int32),
    }
    require_sound(Image.build({**tiny_image.manifest, "layers": []}, nothing))
