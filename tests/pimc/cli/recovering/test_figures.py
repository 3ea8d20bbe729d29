"""Figures of ``pimc recover`` with what they leave open, and its verdict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from scipy.stats import t

from pimc.cli.recovering.figures import floor_text, intervals_of
from pimc.passes.recover.recovery import Floor, LayerCost, Stage
from pimc.passes.recover.watch import layers
from pimc.studies.intervals import wilson_interval
from tests.pimc.cli.recovering.quick import QUICK


def test_intervals_over_the_held_out_samples() -> None:
    stage = Stage("a", 0.5, 0.9, 0, 1.0, {}, loss_error=0.1)
    found = intervals_of(stage, 20)
    half = float(t.ppf(0.975, 19)) * 0.1
    assert found["loss_interval_95"] == pytest.approx([0.5 - half, 0.5 + half])
    assert found["agreement_interval_95"] == pytest.approx(wilson_interval(0.9, 20))
    assert intervals_of(Stage("a", 0.1, None, 0, 1.0, {}, loss_error=0.1), 20) == {
        "loss_interval_95": pytest.approx([0.0, 0.1 + half]),
        "agreement_interval_95": None,
    }
    assert intervals_of(Stage("a", 0.1, None, 0, 1.0, {}), 1)["loss_interval_95"] is None


def test_the_floor_is_told_with_its_samples() -> None:
    cost = LayerCost("conv1", 0.2, 0.5, 0.0, 0.9)
    told = floor_text(Floor(0.05, 1.0, (cost,), samples=6, layer_samples=6, loss_error=0.01))
    assert "0.0500 ± 0.0257, 100.0 % (61.0 to 100.0) as the float network" in told
    assert "on 6 held-out samples, with 95 % intervals" in told
    assert "conv1 alone costs 50.0 points (18.8 to 81.2): read noise" in told


def test_text_and_report_tell_what_the_figures_stand_on(pimc, job, monkeypatch) -> None:
    monkeypatch.setattr(layers, "_VALUES", 1)  # one image fits
    done = pimc("recover", "--calib", "data", "--die", "chip.die", *QUICK)
    assert done.code == 0, done.err
    assert "held out: 32 of 128 calibration samples" in done.out
    assert "limit: gains and offsets are fitted on 1 images, not 96" in done.out
    assert "on 32 held-out samples, with 95 % intervals" in done.err
    report = json.loads(Path("tiny.r1.report.json").read_text())
    assert (report["basis"]["samples"], report["basis"]["held_out"]) == (128, 32)
    assert report["basis"]["limits"][0] == {
        "what": "gains and offsets are fitted", "asked": 96, "used": 1,
    }  # fmt: skip
    for figure in (report["floor"], *report["stages"]):
        low, high = figure["loss_interval_95"]
        assert low <= figure["loss"] <= high
        low, high = figure["agreement_interval_95"]
        assert low <= figure["agreement"] <= high


def test_where_nothing_was_gained_it_is_said(pimc, job) -> None:
    """Nothing may be written nor trained, and fitted columns serve a recovered die no better."""
    done = pimc("recover", "--calib", "data", "--die", "chip.die", *QUICK, "--json")
    assert done.json["gained"] == [True]
    nothing = ("--rounds", 0, "--epochs", 0, "--strategy", "selective")
    again = pimc("recover", "tiny.r1.pimc", "--calib", "data", "--die", "chip.die", *nothing)
    assert again.code == 0, again.err
    verdict = json.loads(Path("tiny.r2.report.json").read_text())["verdict"]
    told = f"held-out loss {verdict['loss_before']:.4f} before, {verdict['loss_after']:.4f} after"
    assert ("nothing was gained" in again.out) == (not verdict["gained"])
    assert (told in again.out) == (not verdict["gained"])
    assert verdict["loss_after"] <= verdict["loss_before"]


def test_a_die_of_stuck_cells_is_told_what_would_help(pimc, tiny_model, tiny_inputs, here) -> None:
    onnx.save(tiny_model(), here / "tiny.onnx")
    np.save(here / "x.npy", tiny_inputs)
    stuck = ("--set", "faults.stuck_gmin_rate=0.2", "--set", "faults.stuck_gmax_rate=0.1")
    done = pimc("compile", "tiny.onnx", "--calib", "x.npy", *stuck)
    assert done.code == 0, done.err
    done = pimc("recover", "--calib", "x.npy", "--budget", 2, "--epochs", 0)
    assert done.code == 0, done.err
    assert "cells are stuck, and no write moves them" in done.out
    assert "what would help: --residual 12" in done.out
