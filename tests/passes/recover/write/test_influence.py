"""How much layers matter to the network's outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx import helper

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.data.dataset import Dataset
from pimc.passes.recover.twin.goal import Goal
from pimc.passes.recover.write.influence import influences
from tests.passes.recover.students import CHIP, model_of, normal, student_of


@pytest.mark.parametrize("at_once", [64, 500])
def test_influences_of_a_linear_network_are_known(at_once: int) -> None:
    """Two products in a row: the gradient at the first one's outputs is the second's weight."""
    w1, w2 = normal(6, 5), normal(5, 4, seed=1)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["y"]),
    ]
    x = normal(4000, 6, seed=2) * np.arange(1, 7, dtype=np.float32)
    image = compile_model(
        model_of(nodes, {"w1": w1, "w2": w2}, ["N", 6], ["N", 4]),
        CHIP,
        calib=x[:64],
        options=Options(equalize=False),
    )
    student = replace(student_of(image), at_once=at_once)
    goal = Goal.of("regression", [torch.zeros(2, 4)])
    generator = torch.Generator().manual_seed(0)
    found = influences(student, goal, Dataset.of(x), generator, batch_size=500)
    first, second = (found[layer.index] for layer in image.layers)
    assert first.moments.shape == (1, 6, 6)
    assert first.sensitivity.shape == (1, 5)
    np.testing.assert_allclose(first.moments[0], np.cov(x.T, bias=True), atol=1.5)
    np.testing.assert_allclose(second.sensitivity[0], 1.0, rtol=0.1)
    on = (x @ w1 > 0).mean(axis=0)
    np.testing.assert_allclose(first.sensitivity[0], on * (w2**2).sum(axis=1), rtol=0.15)


@pytest.mark.parametrize("rows", [7, 64, 90])
def test_moments_are_those_of_all_vectors(rows: int) -> None:
    """Of samples in several batches, few enough for all to be looked at."""
    x = normal(150, rows, seed=2) + normal(1, rows, seed=3)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = model_of(nodes, {"w": normal(rows, 4)}, ["N", rows], ["N", 4])
    image = compile_model(model, CHIP, calib=x, options=Options(equalize=False))
    goal = Goal.of("regression", [torch.zeros(2, 4)])
    given = (student_of(image), goal, Dataset.of(x), torch.Generator().manual_seed(0))
    (found,) = influences(*given, batch_size=40).values()
    expected = np.cov(x.astype(np.float64).T, bias=True)[None]
    np.testing.assert_allclose(found.moments, expected, rtol=1e-9, atol=1e-12)
    assert np.array_equal(found.moments, found.moments.swapaxes(1, 2))
