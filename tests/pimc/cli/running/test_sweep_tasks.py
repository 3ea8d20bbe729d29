"""``pimc sweep --task``: columns of a metric, and tables of another task."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pimc.studies.evaluate import float_session


@pytest.fixture
def files(tiny_model, tiny_image, tiny_inputs, here) -> Path:
    """A model, calibration data and targets that are what the float network says."""
    onnx.save(tiny_model(), "tiny.onnx")
    np.savez("calib.npz", x=tiny_inputs)
    some = tiny_inputs[:24]
    np.savez("values.npz", x=some, y=float_session(tiny_image).run(None, {"x": some})[0] + 0.01)
    np.savez("data.npz", x=some, y=np.arange(24) % 4)
    return Path(here)


def test_a_sweep_tells_the_metric_and_goes_on(pimc, files) -> None:
    arguments = ["sweep", "tiny.onnx", "--calib", "calib.npz", "--dies", "2", "-o", "t.csv"]
    values = [*arguments, "--data", "values.npz", "--task", "regression"]
    done = pimc(*values, "--over", "sigma=0.02,0.1", "--json").json
    with open("t.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert not [name for name in rows[0] if "accuracy" in name]
    assert [row["task"] for row in rows] == ["regression"] * 2
    means = [float(row["metric_mean"]) for row in rows]
    assert means[0] < means[1]
    assert [row["metric_mean"] for row in done["rows"]] == means
    assert done["float_metric"] < 0.02
    assert float(rows[0]["metric_low"]) <= means[0] <= float(rows[0]["metric_high"])
    assert Path("t.sigma.png").stat().st_size > 1000
    again = pimc(*values, "--over", "sigma=0.02,0.1,0.2", "--json").json
    assert (again["points"], again["measured"]) == (3, 1)
    refused = pimc(*arguments, "--data", "values.npz", "--task", "embedding", "--over", "sigma=0.1")
    assert refused.code == 2
    assert "holds a sweep with another task" in refused.err


OWN = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pimc.tasks.classification import Classification
from pimc.tasks.metric import Metric
from pimc.tasks.task import Task, first, target


@dataclass(frozen=True)
class Near(Task):
    name: ClassVar[str] = "near"
    metric: ClassVar[Metric] = Metric("accuracy", "%")
    distills: ClassVar[str] = "values"

    def scores(self, outputs, samples):
        values = first(outputs)
        return np.abs(values - target(samples, "y", values.shape, "f")).mean(axis=1) < 0.2

    def value(self, units):
        return float(units.mean())


@dataclass(frozen=True)
class Open(Near):
    name: ClassVar[str] = "open"

    def interval(self, dies):
        return -np.inf, np.inf

    def differences(self, one, two):
        return [0.0] * len(one), (-np.inf, np.inf)


@dataclass(frozen=True)
class TopTwo(Classification):
    name: ClassVar[str] = "top-two"

    def value(self, units):
        return float((units[:, 0] < 2).mean())
"""


@pytest.mark.parametrize(
    ("task", "data", "key"),
    [
        ("Near", "values.npz", "metric"),
        ("Open", "values.npz", "metric"),
        ("TopTwo", "data.npz", "accuracy"),
    ],
)
def test_a_task_of_ones_own_keeps_its_figures(pimc, files, monkeypatch, task, data, key) -> None:
    (files / "sweep_own.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "sweep_own", raising=False)
    arguments = ["sweep", "tiny.onnx", "--calib", "calib.npz", "--dies", "2", "-o", "own.csv"]
    arguments += ["--data", data, "--task", f"sweep_own:{task}"]
    done = pimc(*arguments, "--over", "sigma=0.02,0.1", "--json").json
    with open("own.csv", newline="") as stream:
        (first, _) = csv.DictReader(stream)
    assert float(first[f"{key}_mean"]) == done["rows"][0][f"{key}_mean"]
    assert first["task"] == done["task"]
    assert (first[f"{key}_low"] == "") == (task == "Open")
    again = pimc(*arguments, "--over", "sigma=0.02,0.1,0.2", "--json").json
    assert (again["points"], again["measured"]) == (3, 1)
    refused = pimc(*arguments[:-2], "--over", "sigma=0.1")
    assert refused.code == 2


def test_open_intervals_are_told_by_comparisons_and_costs(pimc, files, tiny_image, monkeypatch):
    (files / "sweep_own.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "sweep_own", raising=False)
    tiny_image.save("tiny.pimc")
    given = [
        "tiny.pimc",
        "--data",
        "values.npz",
        "--task",
        "sweep_own:Open",
        "--dies",
        "2",
        "--json",
    ]
    found = pimc(
        "recover", *given, "--calib", "calib.npz", "--compare", "--strategy", "affine"
    ).json
    assert found["strategies"][0]["gained"]["interval_95"] == [None, None]
    costs = pimc("eval", *given, "--explain", "-o", "costs.png").json["explain"]["elements"]
    assert costs[0]["alone"]["interval_95"] == [None, None]


def test_inputs_that_all_samples_share_are_part_of_what_a_table_is_of(pimc, here) -> None:
    nodes = [
        helper.make_node("Cast", ["rate"], ["r"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "r"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "w"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 4]),
        helper.make_tensor_value_info("rate", onnx.TensorProto.INT64, []),
    ]
    outputs = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 3])]
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.standard_normal((4, 3)).astype(np.float32), "w")
    graph = helper.make_graph(nodes, "shared", inputs, outputs, [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, "shared.onnx")
    x = rng.standard_normal((20, 4)).astype(np.float32)
    np.savez("two.npz", x=x, y=np.arange(20) % 3, rate=2)
    np.savez("three.npz", x=x, y=np.arange(20) % 3, rate=3)
    arguments = ["sweep", "shared.onnx", "--over", "adc.bits=6", "--dies", "1", "--data"]
    assert pimc(*arguments, "two.npz", "--json").json["measured"] == 1
    assert pimc(*arguments, "two.npz", "--json").json["measured"] == 0
    assert "another data" in pimc(*arguments, "three.npz").err
