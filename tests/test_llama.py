"""A language model of two LLaMA blocks goes round the loop by commands: compile, eval, recover."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.bench.transformers.llama import Llama, Shape

SHAPE = Shape(32, 48, heads=3, groups=1, inner=96, blocks=2)
TOKENS = 16


def windows(count: int, seed: int) -> np.ndarray[Any, Any]:
    """(count, tokens) Each token follows from the two before it, nine times of ten."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(SHAPE.words, size=(count, TOKENS))
    for t in range(2, TOKENS):
        follows = (3 * drawn[:, t - 1] + 5 * drawn[:, t - 2] + 7) % SHAPE.words
        drawn[:, t] = np.where(rng.random(count) < 0.9, follows, drawn[:, t])
    return drawn


def trained() -> Llama:
    """The network after a short training, seeded."""
    torch.manual_seed(0)
    model = Llama(SHAPE)
    optimizer = torch.optim.AdamW(model.parameters(), 4e-3)
    ids = torch.from_numpy(windows(64 * 300, 1)).reshape(300, 64, TOKENS)
    for step, batch in enumerate(ids):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * (1 - step / len(ids))
        loss = torch.nn.functional.cross_entropy(
            model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported network, windows to calibrate on and windows to judge."""
    here = tmp_path_factory.mktemp("llama")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        torch.onnx.export(
            trained(), (torch.from_numpy(windows(2, 2)),), here / "llama.onnx", dynamo=False,
            opset_version=17, input_names=["ids"], dynamic_axes={"ids": {0: "N", 1: "S"}},
        )  # fmt: skip
    np.savez(here / "calib.npz", x=windows(128, 3))
    np.savez(here / "test.npz", x=windows(128, 4))
    return here


def test_a_language_model_comes_back_by_commands(pimc, folder, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    task = ("--task", "language-model", "--data", "test.npz")
    done = pimc("compile", "llama.onnx", "--calib", "calib.npz", "-o", "llama.pimc")
    assert done.code == 0, done.err
    perfect = pimc("eval", "llama.pimc", "--ideal", *task, "--json").json
    assert perfect["metric"] == "perplexity"
    assert perfect["metric_mean"] < 1.08 * perfect["float_metric"] < SHAPE.words / 4
    command = ("recover", "llama.pimc", "--calib", "calib.npz", "--seed", "900", *task, "--json")
    done = pimc(*command)
    assert done.code == 0, done.err
    before, after = (
        math.log(done.json[key][0] / done.json["float_metric"])
        for key in ("metric_before", "metric_after")
    )
    assert after < 0.4 * before
    assert before > 0.4
