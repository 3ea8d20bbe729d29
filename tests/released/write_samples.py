"""Write one small file of every format: ``python tests/released/write_samples.py FOLDER``.

Run it with the code that first writes a new version of a format, and keep the files of the
versions before: ``test_released_files.py`` loads all of them. ``README.md`` says more.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.chip.fault_map import Fault, FaultMap
from pimc.data.dataset import Dataset
from pimc.files.writing.atomic import sha256_array
from pimc.image.image import Image
from pimc.passes.recover.bench import parts
from pimc.passes.recover.bench.bench import Bench
from pimc.passes.recover.bench.checkpoint import Checkpoint, discard
from pimc.passes.recover.bench.state import State
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.train.distill import DistillOptions
from pimc.runtime.capture import Capture, CaptureOptions, capture
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session

__all__ = ["OPTIONS", "calibration", "inputs", "of_capture", "of_die", "of_image", "of_state"]

#: Every optional part of a file is there: ranges a column, faults, telegraph noise, disturb.
CHIP = (
    Chip.default()
    .with_array(16, 8)
    .with_sigma(0.1)
    .with_(
        **{
            "adc.range": "column",
            "read_noise.relative": 0.01,
            "read_noise.rtn_share": 0.1,
            "read_noise.rtn_dwell_samples": 40,
            "disturb.tau0_s": 1e3,
            "disturb.every_samples": 64,
        }
    )
)
OPTIONS = RecoverOptions(
    rounds=1,
    residual=0.05,
    influence_images=16,
    capture=CaptureOptions(vectors=24, repeats=2, images=16),
    distill=DistillOptions(epochs=1),
)
#: Steps of the recovery after which it is cut.
STEPS = 7


class CutError(Exception):
    """The recovery was cut."""


class Cut(Checkpoint):
    """A checkpoint of a recovery that is cut after some steps."""

    def save(self, bench: Bench, state: State, done: int) -> None:
        """Note the state, and stop where it is to be cut."""
        super().save(bench, state, done)
        if done == STEPS:
            raise CutError(state)


def model() -> ModelProto:
    """A convolution and a matrix product; input (N, 2, 6, 6)."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (4, 2, 3, 3), "b1": (4,), "w2": (3, 4), "b2": (3,)}
    constants = [
        numpy_helper.from_array((rng.standard_normal(shape) / 3).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def inputs(count: int, seed: int) -> np.ndarray[Any, Any]:
    """(count, 2, 6, 6) inputs."""
    return np.random.default_rng(seed).standard_normal((count, 2, 6, 6)).astype(np.float32)


def calibration() -> Dataset:
    """What the recovery calibrates with."""
    return Dataset.of(inputs(32, 1))


def of_image(image: Image) -> dict[str, Any]:
    """What an image must be and give forever."""
    (y,) = Session(image, die=Die.ideal()).run(None, {"x": inputs(4, 2)})
    return {"sha256": image.sha256, "levels": sha256_array(image.levels), "outputs": y.tolist()}


def of_die(die: Die, image: Image) -> dict[str, Any]:
    """What a die must hold and give forever; it is read."""
    found = {
        "held_us": sha256_array(die.held_us(np.flatnonzero(image.used))),
        "cells": {name: sha256_array(value) for name, value in vars(die.cells).items()},
        "clock_s": die.clock_s,
    }
    (y,) = Session(image, die=die).run(None, {"x": inputs(4, 2)})
    return found | {"outputs": y.tolist()}


def of_capture(captured: Capture) -> dict[str, Any]:
    """What a capture must hold forever."""
    return {
        "layers": {
            str(index): {name: sha256_array(value) for name, value in vars(layer).items()}
            for index, layer in captured.layers.items()
        },
        "outputs": {name: sha256_array(value) for name, value in captured.outputs.items()},
        "head": [captured.die, captured.taken, captured.reads],
    }


def of_state(state: State, done: int) -> dict[str, Any]:
    """What a recovery that is taken up again must begin with."""
    assert state.kept is not None
    return {
        "done": done,
        "image": state.image.sha256,
        "kept": [state.kept.value.stage, state.kept.value.image.sha256],
        "stages": [stage.name for stage in state.stages],
        "writes": state.all_writes().tolist(),
        "generator": sha256_array(state.random),
        "estimates": {
            str(index): {name: sha256_array(value) for name, value in vars(estimate).items()}
            for index, estimate in state.estimates.items()
        },
    }


def write(folder: Path) -> None:
    """Write all files, and ``expected.json`` beside them."""
    faults = FaultMap((Fault(0, 3, None, "open"), Fault(0, 2, 1, "stuck_gmax")))
    image = compile_model(
        model().SerializeToString(deterministic=True), CHIP, calib=inputs(32, 1),
        faults=faults, options=Options(feedback=False),
    )  # fmt: skip
    image.save(folder / "tiny.pimc")

    die = Die.simulated(7)
    Session(image, die=die).run(None, {"x": inputs(4, 3)})
    die.age(3600.0)
    die.program(np.arange(4), np.arange(4))
    Session(image, die=die).run(None, {"x": inputs(4, 2)})
    die.save(folder / "tiny.die")

    session = Session(image, die=Die.load(folder / "tiny.die"))
    captured = capture(session, calibration(), OPTIONS.capture)
    captured = replace(captured, taken="2026-01-31T12:00:00Z")
    captured.save(folder / "tiny.pimccap")

    def recovered(checkpoint: Checkpoint) -> Image:
        device = Session(image, die=Die.load(folder / "tiny.die")).device
        return recover(image, device, calibration(), OPTIONS, checkpoint=checkpoint).image

    path = folder / "tiny.recovery"
    discard(path)
    parts._LARGE_BYTES = 1 << 10  # of so small a network, too, something lies beside it
    try:
        recovered(Cut(path, image, "selective"))
    except CutError as caught:
        (state,) = caught.args
        cut = {file: file.read_bytes() for file in folder.glob("tiny.recovery*")}
    found = {
        "tiny.pimc": of_image(image),
        "tiny.die": of_die(Die.load(folder / "tiny.die"), image),
        "tiny.pimccap": of_capture(captured),
        "tiny.recovery": of_state(state, STEPS),
    }
    # The recovery may end without the residual: what it had when it was cut has all there is.
    with_residual = state.image
    note = recovered(Checkpoint(path, image, "selective")).manifest["recovery"]
    discard(path)
    for file, content in cut.items():
        file.write_bytes(content)
    again = with_residual.updated(recovery=note)
    again.save(folder / "tiny.r1.pimc")
    found["tiny.r1.pimc"] = of_image(again) | {"recovery": note}
    text = json.dumps(found, indent=1, sort_keys=True) + "\n"
    (folder / "expected.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
