"""``pimc recover --task``: what outputs are held to, and the metric before and after."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pimc.studies.evaluate import float_session


@pytest.fixture
def job(tiny_image, tiny_inputs, here):
    """An image, calibration data, and targets that are what the float network says."""
    tiny_image.save("tiny.pimc")
    np.savez("calib.npz", x=tiny_inputs)
    some = tiny_inputs[:32] + np.float32(0.1)
    np.savez("values.npz", x=some, y=float_session(tiny_image).run(None, {"x": some})[0] + 0.01)


def test_a_recovery_is_told_in_the_tasks_metric(pimc, job) -> None:
    done = pimc(
        "recover", "tiny.pimc", "--calib", "calib.npz", "--data", "values.npz",
        "--task", "regression", "--strategy", "affine", "--json",
    )  # fmt: skip
    found = done.json
    assert not [key for key in found if "accuracy" in key]
    assert (found["task"], found["direction"]) == ("regression", "lower")
    (die,) = found["dies"]
    assert found["float_metric"] < found["metric_after"][0] < found["metric_before"][0]
    assert (die["metric_before"], die["metric_after"]) == (
        found["metric_before"][0], found["metric_after"][0],
    )  # fmt: skip
    # Values have no classes to agree in.
    assert all(stage["agreement"] is None for stage in die["stages"])
    refused = pimc("recover", "tiny.pimc", "--calib", "calib.npz", "--task", "regresion")
    assert refused.code == 2
    assert "did you mean regression?" in refused.err


def test_a_comparison_says_what_was_won_in_the_tasks_direction(pimc, job) -> None:
    arguments = [
        "recover", "tiny.pimc", "--compare", "--calib", "calib.npz", "--data", "values.npz",
        "--task", "regression", "--strategy", "affine", "--strategy", "none", "--dies", "2",
    ]  # fmt: skip
    found = pimc(*arguments, "--json").json
    affine, none = found["strategies"]
    won = affine["gained"]
    assert won["mean"] == pytest.approx(
        affine["metric_before"]["mean"] - affine["metric_after"]["mean"]
    )
    low, high = won["interval_95"]
    assert low < won["mean"] < high
    assert won["mean"] > 0 == none["gained"]["mean"]
    kept = json.loads(Path("tiny.compare.json").read_text())
    assert [one["metric_after"] for one in kept["outcomes"]] == [
        one["metric_after"] for one in found["outcomes"]
    ]
    assert "RMSE won" in Path("tiny.compare.md").read_text()


def test_several_dies_are_held_to_a_target_in_the_tasks_direction(pimc, job) -> None:
    arguments = [
        "recover", "tiny.pimc", "--calib", "calib.npz", "--data", "values.npz", "--task",
        "regression", "--strategy", "affine", "--dies", "3", "--seed", "900",
    ]  # fmt: skip
    first = pimc(*arguments, "--json").json
    assert not [key for key in first if "accuracy" in key]
    before, after = first["metric_before"], first["metric_after"]
    best, *_, worst = sorted(after)
    found = pimc(*arguments, "--target", (best + worst) / 2, "--resume", "--json").json
    assert found["recovered"] == 0
    within = found["summary"]["within"]
    for when, values in (("before", before), ("after", after)):
        good = sum(value <= (best + worst) / 2 for value in values)
        assert within[when]["dies"] == good
    assert 0 < within["after"]["dies"] < 3
    assert found["summary"]["metric"]["gained"]["mean"] == pytest.approx(
        np.mean(before) - np.mean(after)
    )
    lines = Path("tiny.r1.dies.csv").read_text().splitlines()
    assert {"metric_before", "metric_after", "task"} <= set(lines[0].split(","))
    drop = 2 * (worst - found["float_metric"])
    done = pimc(*arguments, "--max-drop", drop, "--min-yield", 100, "--resume")
    assert (done.code, "reached" in done.out) == (0, True), done.err
