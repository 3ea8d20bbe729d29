"""The benchmark runs, on the network of this repository; what its times say is not for a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("bench_runtime.py")


def test_contenders_run_side_by_side(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [
        sys.executable, str(SCRIPT), "--data", str(tmp_path / "missing"), "--no-large",
        "--batch", "4", "--rounds", "1", "--seconds", "0", "--threads", "1", "--dies", "0",
        "--only", "onnxruntime", "torch", "pimc", "crosssim",
        "--json", str(figures),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "missing: the network is Fashion-MNIST's" in done.stdout
    assert done.stdout.count("| torch, float, channels-last |") == 1

    found = json.loads(figures.read_text())
    (case,) = found["cases"]
    rows = {row["contender"]: row for row in case["results"]}
    assert list(rows) == ["onnxruntime", "torch", "pimc", "crosssim"]
    assert rows["onnxruntime"]["agreement"] == rows["torch"]["agreement"] == 1.0
    assert rows["pimc"]["agreement"] >= 0.5
    assert rows["crosssim"]["skip"] == "CrossSim: No module named 'simulator'"
    for name in ("onnxruntime", "torch", "pimc"):
        assert rows[name]["seconds"] > 0
        assert rows[name]["peak_rss_mb"] > 20
    assert rows["onnxruntime"]["peak_rss_mb"] < rows["torch"]["peak_rss_mb"]
    parts = case["profile_s"]
    assert min(parts["fused read: DAC, array, ADC"], parts["digital sum"]) > 0
    assert parts["other operators"] > 0
