"""Cost of an inference by hand, for every way to drive wordlines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.image import cost, estimate
from pimc.image.image import TILE_FIELDS, Image

CHIP = Chip.default().with_array(16, 8)


def image_of(outputs: int = 6, /, **keys: Any) -> Image:
    """A matrix of 20 signed inputs and 6 outputs: two row blocks in one or two arrays."""
    weight = np.random.default_rng(0).standard_normal((20, outputs)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 20])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", outputs])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return compile_model(model.SerializeToString(), CHIP.with_(**keys))


def read_steps(image: Image) -> int:
    return len(cost.activations(image.tiles, image.schedule).step)


#: Keys, reads and input codes a vector, pulses a read, full-scale reads a wordline on average.
MODES: list[tuple[dict[str, Any], int, int, int, float]] = [
    ({}, 1, 1, 1, 1 / 3),
    ({"dac.mode": "bit_serial"}, 7, 1, 1, 3.5),
    ({"dac.mode": "bit_serial", "dac.signed": False}, 16, 2, 1, 4.0),
    ({"dac.mode": "pulse_count"}, 1, 1, 127, 63.5),
    ({"dac.mode": "pulse_count", "dac.signed": False}, 2, 2, 255, 127.5),
]


@pytest.mark.parametrize(("keys", "reads", "codes", "pulses", "driven"), MODES)
def test_reads_pulses_and_conversions(
    keys: dict[str, Any], reads: int, codes: int, pulses: int, driven: float
) -> None:
    image = image_of(**keys)
    chip = image.chip
    found = cost.inference(image)
    assert found is not None
    steps = 1 if image.arrays == 2 else 2
    assert found.dac_pj == pytest.approx(codes * 20 * chip.dac.energy_pj)
    assert found.adc_pj == pytest.approx(reads * 2 * 6 * chip.adc.energy_pj)
    step_ns = pulses * chip.array.read_ns + 6 * chip.adc.convert_ns
    assert found.latency_ns == pytest.approx(reads * steps * step_ns)
    held = estimate.held_us(image, image.layers[0])
    total_us = held.sum() + 20 * image.codebook.reference_us
    wanted = 1e-3 * chip.array.v_read_v**2 * driven * total_us * chip.array.read_ns
    assert found.array_pj == pytest.approx(wanted)


def test_fewer_active_rows_take_more_reads() -> None:
    assert read_steps(image_of()) == 2
    few = image_of(**{"array.active_rows": 5})
    assert read_steps(few) == 4
    assert {int(rows) for rows in few.tiles.rows} == {5}
    every, some = (cost.inference(image) for image in (image_of(), few))
    assert every is not None
    assert some is not None
    assert some.adc_pj == 2 * every.adc_pj
    assert some.dac_pj == every.dac_pj


@pytest.mark.parametrize(("pair", "conversions"), [("columns", 2), ("rows", 1), ("arrays", 2)])
def test_conversions_of_a_pair(pair: str, conversions: int) -> None:
    """Rows subtract before the ADC, on tiles of half as many inputs."""
    image = image_of(**{"mapping.kind": "differential", "mapping.pair": pair})
    found = cost.inference(image)
    assert found is not None
    row_blocks = 3 if pair == "rows" else 2
    assert image.layers[0].row_blocks == row_blocks
    adc = image.chip.adc.energy_pj
    assert found.adc_pj == pytest.approx(conversions * row_blocks * 6 * adc)
    assert int(image.used.sum()) == 2 * 20 * 6


def counted(image: Image) -> tuple[int, int, int, int]:
    """Of one input vector: wordlines driven, columns converted, steps, conversions in a row."""
    tiles = [dict(zip(TILE_FIELDS, tile, strict=True)) for tile in image.tensors["tiles"].tolist()]
    steps: dict[int, dict[int, list[dict[str, int]]]] = {}
    for step, number in image.tensors["schedule"].tolist():
        steps.setdefault(step, {}).setdefault(tiles[number]["array"], []).append(tiles[number])
    rows = cols = turns = 0
    for arrays in steps.values():
        together = [sum(tile["cols"] for tile in found) for found in arrays.values()]
        rows += sum(max(tile["rows"] for tile in found) for found in arrays.values())
        cols += sum(together)
        turns += max(min(width, image.chip.adc.columns_per_adc) for width in together)
    return rows, cols, len(steps), turns


@pytest.mark.parametrize(
    ("keys", "turns"),
    [
        ({"adc.columns_per_adc": 1}, 1),
        ({"adc.columns_per_adc": 6}, 6),
        ({"adc.columns_per_adc": 64}, 8),
        ({"adc.columns_per_adc": 6, "mapping.kind": "differential"}, 6),
    ],
)
def test_a_step_takes_as_long_as_its_slowest_converter(keys: dict[str, Any], turns: int) -> None:
    """Arrays of a step convert side by side, an ADC its columns one after the other."""
    image = image_of(12, **keys)
    chip, found = image.chip, cost.inference(image)
    rows, cols, steps, in_a_row = counted(image)
    # Eight columns of the first block of columns, four of the second, at the same time.
    assert steps < image.arrays
    assert in_a_row > steps * turns / 2
    assert found is not None
    assert found.dac_pj == pytest.approx(rows * chip.dac.energy_pj)
    assert found.adc_pj == pytest.approx(cols * chip.adc.energy_pj)
    wanted_ns = steps * chip.array.read_ns + in_a_row * chip.adc.convert_ns
    assert found.latency_ns == pytest.approx(wanted_ns)
