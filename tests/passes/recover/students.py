"""Small networks, and students of them whose digital side is spoiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pimc.chip.design import Chip
from pimc.image.image import Image
from pimc.passes.recover.estimate import prior
from pimc.passes.recover.twin.goal import Goal
from pimc.passes.recover.twin.student import Student
from pimc.passes.recover.twin.twin import Twin
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array

CHIP = Chip.default().with_array(16, 8)


def model_of(
    nodes: list[Any], weights: dict[str, np.ndarray], x: list[Any], y: list[Any]
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def student_of(image: Image, spoil: float = 0.0) -> Student:
    """The twin of perfect cells with gains and biases ``spoil`` off."""
    session = Session(image)
    rng = np.random.default_rng(0)
    columns = {
        layer.index: {
            "gain": layer.gain * rng.normal(1, spoil, layer.gain.shape).astype(np.float32),
            "bias": layer.bias + rng.normal(0, spoil, layer.bias.shape).astype(np.float32),
        }
        for layer in image.layers
    }
    image = image.updated(columns=columns)
    estimates = {layer.index: prior(image, layer) for layer in image.layers}
    return Student(
        session.executor,
        Twin.of(image, estimates),
        teacher_array(image),
        (session.get_outputs()[0].name,),
    )


def loss_of(student: Student, x: np.ndarray, task: Any = None) -> float:
    feed = {student.executor.input_names[0]: torch.from_numpy(x)}
    with torch.no_grad():
        wanted, _ = student.teach(feed)
        found, _ = student.run(feed, student.twin)
    return float(Goal.of(task, wanted).loss(found, wanted))
