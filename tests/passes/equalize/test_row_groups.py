"""Rows in groups compute the same in float, and inputs that stand out cost less."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc import api
from pimc.chip.design import Chip
from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.passes.equalize.row_groups import grouped, split
from pimc.runtime.session import Session
from tests.passes.equalize.test_chains import drawn
from tests.passes.lowered_nets import golden, in_float, model_of, node

CHIP = Chip.default().with_array(16, 16)


def tall(rows: int = 40, cols: int = 6, seed: int = 0) -> Any:
    weights = {"w": drawn(rows, cols, seed=seed), "b": drawn(cols), "u": drawn(cols, 3)}
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Add", ["a", "b"], ["s"]),
        node("Relu", ["s"], ["r"]),
        node("MatMul", ["r", "u"], ["y"]),
    ]
    return model_of(nodes, {"x": ["N", 5, rows]}, weights)


@given(rows=st.integers(1, 70), most=st.integers(1, 16))
def test_every_row_is_in_one_group_of_as_few_as_can_be(rows: int, most: int) -> None:
    peak = np.random.default_rng(rows).random(rows)
    groups = grouped(peak, most)
    assert sorted(np.concatenate(groups)) == list(range(rows))
    assert len(groups) == -(-rows // most)
    assert max(map(len, groups)) <= most
    strong = [peak[group] for group in groups]
    assert all(a.min() >= b.max() for a, b in pairwise(strong))


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 99))
def test_the_network_computes_the_same(seed: int) -> None:
    model, x = tall(seed=seed), drawn(4, 5, 40)
    plan = api.plan(model, CHIP, stop_after="partition")
    peak = np.random.default_rng(seed).random(40)
    plan = split(plan, {"w": grouped(peak, 16), "u": [np.arange(6)]})
    assert [layer.name for layer in plan.layers] == ["w/rows0", "w/rows1", "w/rows2", "u"]
    image = api.compile(plan, CHIP)
    ((wanted,), (ours,)) = golden(model, {"x": x}), in_float(image, {"x": x})
    assert np.abs(ours - wanted).max() <= 2e-6 * np.abs(wanted).max()


def compiled(model: Any, x: npt.NDArray[np.float32], **options: Any) -> Image:
    return api.compile(model, CHIP, calib=x, options=api.Options(**options))


def test_groups_take_no_more_arrays_and_inputs_that_stand_out_cost_less() -> None:
    strength = np.where(np.arange(40) % 5 == 0, 30.0, 1.0).astype(np.float32)
    x, fresh = np.split(drawn(400, 5, 40) * strength, 2)
    model = tall()
    for tensor in model.graph.initializer:
        if tensor.name == "w":
            weight = np.frombuffer(tensor.raw_data, np.float32).reshape(40, 6)
            tensor.raw_data = (weight / strength[:, None]).astype(np.float32).tobytes()
    (wanted,) = golden(model, {"x": fresh})
    images = [compiled(model, x, split_rows=on, equalize=False) for on in (False, True)]
    errors = [
        float(np.square(Session(image).run(None, {"x": fresh})[0] - wanted).mean())
        for image in images
    ]
    assert errors[1] < 0.3 * errors[0]
    assert images[1].arrays == images[0].arrays
    assert [n.op_type for n in images[1].graph().graph].count("Gather") == 3


def test_groups_need_calibration_data() -> None:
    with pytest.raises(UsageError, match="calibration data"):
        api.compile(tall(), CHIP, options=api.Options(split_rows=True))


def test_what_fits_an_array_stays_whole() -> None:
    x = drawn(8, 5, 16)
    plain, asked = (compiled(tall(16), x, split_rows=on) for on in (False, True))
    assert "split_rows" not in plain.options
    assert asked.options["split_rows"] is True
    assert np.array_equal(plain.levels, asked.levels)
