"""The program in the documentation writes captures that are as good as our own."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.chip.fault_map import Fault, FaultMap
from pimc.files.schema import tensor_rows
from pimc.image.image import Image, layer_tensor
from pimc.runtime.capture import Capture
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door.capture_file import LAYER_CAPTURE
from pimc.runtime.session import Session

DOCUMENT = Path(__file__).parents[3] / "docs" / "capture-format.md"
NOISELESS = {"read_noise.relative": 0.0}


def image_of(model: Any, x: np.ndarray | None, changes: dict[str, Any] | None = None) -> Image:
    """The tiny network on a chip with keys changed by dotted path."""
    chip = Chip.default().with_array(16, 8).with_(**(changes or {}))
    return compile_model(model, chip, calib=x)


def documented_program() -> str:
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), flags=re.DOTALL)
    return program


def test_the_documented_program_needs_no_pimc() -> None:
    tree = ast.parse(documented_program())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} == {"hashlib", "json", "numpy", "safetensors"}


@pytest.mark.parametrize("case", ["reference", "digital", "dynamic", "faults", "recovered"])
def test_a_file_of_the_documented_program_is_a_capture(
    tiny_model, tiny_inputs, tmp_path, case
) -> None:
    pedestal = "digital" if case == "digital" else "reference"
    x = None if case == "dynamic" else tiny_inputs
    image = image_of(tiny_model(), x, NOISELESS | {"mapping.pedestal": pedestal})
    if case == "faults":
        stuck = FaultMap(tuple(Fault(0, row, 0, "stuck_gmax") for row in range(0, 16, 3)))
        image = compile_model(tiny_model(), image.chip, calib=x, faults=stuck)
        assert image.moves_lines
    if case == "recovered":
        rng = np.random.default_rng(0)
        shapes = [(layer.groups, layer.col_blocks, layer.rows) for layer in image.layers]
        image = image.with_layers(
            replace(layer, row_correction=rng.standard_normal(shape).astype(np.float32))
            for layer, shape in zip(image.layers, shapes, strict=True)
        )
    image.save(tmp_path / "a.pimc")
    die = Die.simulated(5)
    session = Session(image, die=die)

    def measure(cells: np.ndarray, inputs: np.ndarray, layer: dict[str, Any]) -> np.ndarray:
        region = Region("bench", cells[None], layer["adc_lsb_us"], layer["input_signed"])
        driven = torch.from_numpy(inputs.astype(np.float32))[None, None]
        return session.device.read(region, driven)[0, 0].numpy()

    program: dict[str, Any] = {}
    exec(compile(documented_program(), str(DOCUMENT), "exec"), program)
    path = tmp_path / "a.pimccap"
    program["write_capture"](tmp_path / "a.pimc", path, "bench:1", measure, vectors=24, repeats=2)

    loaded = Capture.load(path, image)
    assert loaded.die == "bench:1"
    assert json.loads(json.dumps(loaded.taken)).startswith("2026")
    assert list(loaded.layers) == [0, 1, 2]
    for layer in image.layers:
        record = loaded.layers[layer.index]
        inputs = torch.from_numpy(record.inputs.astype(np.float32))[None]
        wanted = session.device.read(Region.of(image, layer), inputs)
        np.testing.assert_array_equal(record.codes[1], wanted[0].numpy())
        outputs = session.layers[layer.name].outputs_of(wanted, inputs)[0].numpy()
        np.testing.assert_allclose(record.outputs, outputs, rtol=1e-4, atol=1e-4)
        assert np.ptp(outputs) > 0.1


def test_the_specification_lists_the_tensors_of_a_layer() -> None:
    rows = [
        line
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `layer.NNNN.")
    ]
    assert rows == [*tensor_rows(LAYER_CAPTURE, partial(layer_tensor, "NNNN"))]
