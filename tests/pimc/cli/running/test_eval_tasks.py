"""``pimc eval --task``: metrics other than accuracy, their limits and what costs how much."""

from __future__ import annotations

import sys
from itertools import product
from typing import Any

import numpy as np
import pytest

from pimc.functions.evaluate import Evaluation
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.studies.evaluate import float_session
from pimc.studies.montecarlo import Trial
from pimc.tasks.statistics import auc
from pimc.tasks.values import Regression
from tests.pimc.tasks.test_find import OWN


@pytest.fixture
def values(tiny_image, tiny_inputs, here):
    """Data whose targets are what the float network says, and noise: ``values.npz``."""
    wanted = float_session(tiny_image).run(None, {"x": tiny_inputs})[0]
    noise = 0.01 * np.random.default_rng(0).standard_normal(wanted.shape)
    np.savez("values.npz", x=tiny_inputs, y=wanted + noise)
    return wanted + noise


def test_regression_over_dies(pimc, image, values, tiny_inputs) -> None:
    arguments = ["eval", "--data", "values.npz", "--task", "regression", "--dies", "2"]
    result = pimc(*arguments, "--json").json
    wanted = [
        np.sqrt(
            np.square(
                Session(image, die=Die.simulated(seed), seed=seed).run(None, {"x": tiny_inputs})[0]
                - values
            ).mean()
        )
        for seed in (0, 1)
    ]
    assert result["metric_per_die"] == pytest.approx(wanted, rel=1e-5)
    assert (result["task"], result["metric"], result["direction"]) == (
        "regression", "RMSE", "lower",
    )  # fmt: skip
    assert not [key for key in result if "accuracy" in key]
    low, high = result["metric_interval_95"]
    assert low < result["metric_mean"] < high
    assert result["float_metric"] < 0.02 < result["metric_mean"]
    assert result["drop"] == pytest.approx(result["metric_mean"] - result["float_metric"])
    assert 0 < result["figures"]["r2"] < 1
    text = pimc(*arguments).out
    assert f"RMSE           {result['metric_mean']:.4g} ± " in text
    assert "lower is better" in text


def test_limits_hold_the_metric_in_its_direction(pimc, image, values) -> None:
    arguments = ["eval", "--data", "values.npz", "--task", "regression", "--ideal"]
    found = pimc(*arguments, "--json").json
    rmse, drop = found["metric_mean"], found["drop"]
    assert drop > 0
    assert pimc(*arguments, "--max-metric", rmse + 1e-3, "--max-drop", drop + 1e-3).code == 0
    failed = pimc(*arguments, "--max-metric", rmse - 1e-3)
    assert failed.code == 1
    assert "maximum" in failed.out
    assert "NOT reached" in failed.out
    assert pimc(*arguments, "--max-drop", drop - 1e-3).code == 1
    for option, message in [
        ("--min-metric", "tells the RMSE, which is better the lower\n  hint: give --max-metric"),
        ("--min-accuracy", "tells the RMSE, which is better the lower\n  hint: give --max-metric"),
    ]:
        refused = pimc(*arguments, option, "0.5")
        assert refused.code == 2
        assert message in refused.err


#: A metric may be below zero, drops and accuracies may not.
NO_LIMITS = [
    *product(["--max-metric", "--max-drop", "--min-accuracy"], ["nan", "inf", "much"]),
    *product(["--max-drop", "--min-accuracy"], ["-1"]),
]


@pytest.mark.parametrize(("option", "value"), NO_LIMITS)
def test_limits_are_numbers(pimc, image, values, option, value) -> None:
    refused = pimc("eval", "--data", "values.npz", "--task", "regression", option, value, "--json")
    assert refused.code == 2
    assert f"Invalid value for '{option}': '{value}' is not a number" in refused.err


def test_a_single_sample_has_an_open_interval(pimc, image, values) -> None:
    arguments = ["eval", "--data", "values.npz", "--task", "regression", "--ideal", "--limit", "1"]
    assert pimc(*arguments, "--json").json["metric_interval_95"] == [0.0, None]
    assert "95 % interval  –" in pimc(*arguments).out


def test_a_drop_of_accuracy_is_in_points(pimc, image, data) -> None:
    arguments = ["eval", "--data", "data.npz", "--dies", "1"]
    found = pimc(*arguments, "--json").json
    points = 100 * found["drop"]
    assert points == pytest.approx(100 * (found["float_accuracy"] - found["accuracy_mean"]))
    assert pimc(*arguments, "--max-drop", max(points, 0) + 0.1).code == 0
    failed = pimc(*arguments, "--max-drop", points - 0.1, "--json")
    assert (failed.code, failed.json["ok"]) == (1, False)
    assert found["figures"]["top_5"] == 1.0
    assert set(found["figures"]["per_class"]) <= set("0123")


def test_labels_under_another_task_and_targets_that_are_missing(
    pimc, image, values, data, tiny_inputs
) -> None:
    np.savez("labels.npz", x=tiny_inputs, y=(values > np.median(values, axis=0)).astype(np.int64))
    arguments = ["eval", "--data", "labels.npz", "--ideal"]
    found = pimc(*arguments, "--task", "multi-label", "--json").json
    scores = Session(image).run(None, {"x": tiny_inputs})[0]
    each = [auc(scores[:, n], values[:, n] > np.median(values[:, n])) for n in range(4)]
    assert found["metric_mean"] == pytest.approx(np.mean(each))
    refused = pimc(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert "y holds values of shape [4]" in refused.err
    one_kind = np.zeros(64, np.int64)
    np.savez("one.npz", x=tiny_inputs, y=np.stack([one_kind] * 4, axis=1))
    refused = pimc("eval", "--data", "one.npz", "--ideal", "--task", "multi-label")
    assert refused.code == 2
    assert "the mean AUC of these samples is not defined" in refused.err
    refused = pimc("eval", "--data", "data.npz", "--ideal", "--task", "similarity")
    assert "has no pair, which the task similarity needs" in refused.err
    refused = pimc("eval", "--data", "data.npz", "--ideal", "--task", "regresion")
    assert "no such task (did you mean regression?)" in refused.err
    refused = pimc("eval", "--data", "data.npz", "--ideal", "--task", "language-model")
    assert "not (windows, tokens, vocabulary)" in refused.err


def test_embeddings_need_no_labels(pimc, image, tiny_inputs, here) -> None:
    np.savez("plain.npz", x=tiny_inputs)
    arguments = ["eval", "--data", "plain.npz", "--task", "embedding"]
    found = pimc(*arguments, "--dies", "2", "--json").json
    assert found["float_metric"] == pytest.approx(1)
    assert 0 < found["metric_mean"] < 1
    assert found["figures"]["recall_at_1"] <= found["figures"]["recall_at_10"]


def test_a_task_of_ones_own_in_the_current_folder(
    pimc, image, tiny_inputs, here, monkeypatch
) -> None:
    (here / "own_tasks.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", [*sys.path])
    np.savez("plain.npz", x=tiny_inputs)
    found = pimc("eval", "--data", "plain.npz", "--task", "own_tasks:Largest", "--ideal", "--json")
    wanted = Session(image).run(None, {"x": tiny_inputs})[0].max(axis=1).mean()
    assert found.json["metric_mean"] == pytest.approx(wanted)
    assert found.json["metric_unit"] == "V"
    low, high = found.json["metric_interval_95"]
    assert low < wanted < high
    sys.modules.pop("own_tasks", None)


def test_figures_are_means_over_the_dies_that_have_them() -> None:
    class Told(Regression):
        def figures(self, units):
            (one,) = units
            return {"one": one, "each": {"a": one} if one else {"b": one}}

    def of(*values: float) -> dict[str, Any]:
        trials = [Trial(str(v), 0.0, 0.0, {}, np.array([v])) for v in values]
        return Evaluation(tuple(trials), None, 1, 0.0, Told()).figures

    assert of(1.0, 0.0, 3.0) == {"one": pytest.approx(4 / 3), "each": {"a": 2.0, "b": 0.0}}
    assert np.isnan(of(float("nan"))["one"])


def test_explain_is_of_the_metric_and_losses_are_what_it_is_worse_by(pimc, image, values) -> None:
    arguments = ["eval", "--data", "values.npz", "--task", "regression", "--dies", "2"]
    arguments += ["--limit", "24", "--explain"]
    found = pimc(*arguments, "--json", "-o", "why.png").json["explain"]
    steps = found["quantization"]
    assert steps["float"] < steps["weights"] <= steps["dac"] * 1.05
    assert found["together"]["mean"] > 0
    low, high = found["together"]["interval_95"]
    assert low < found["together"]["mean"] < high
    text = pimc(*arguments).out
    assert "RMSE with perfect cells" in text
    assert "RMSE an element costs" in text


def test_targets_that_are_not_one_a_sample_are_not_passed_over(pimc, image, tiny_inputs) -> None:
    labels = np.arange(64) % 2
    np.savez("clips.npz", x=tiny_inputs, y=labels, clip=np.arange(60), note=np.arange(3))
    refused = pimc("eval", "--data", "clips.npz", "--ideal", "--task", "anomaly")
    assert refused.code == 2
    assert "clip does not hold a value for each of the 64 samples" in refused.err
    assert pimc("eval", "--data", "clips.npz", "--ideal").code == 0
