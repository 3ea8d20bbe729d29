"""``pimc sweep --task``: columns of a metric, and tables of another task."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import onnx
import pytest

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
