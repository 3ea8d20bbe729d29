"""``pimc layouts``."""

from __future__ import annotations

import pytest


def test_layouts_lists_what_is_worth_having(pimc, model) -> None:
    done = pimc("layouts", "tiny.onnx", "--array", "16x8", "--json")
    assert done.code == 0
    found = done.json["layouts"]
    for layout in found:
        options = ("--array", "16x8", "--packing", layout["packing"], "--json")
        compiled = pimc("compile", "tiny.onnx", *options).json
        assert compiled["arrays_used"] == layout["arrays"]
        assert compiled["latency_ns"] == pytest.approx(layout["latency_ns"])
    text = pimc("layouts", "tiny.onnx", "--array", "16x8").out
    assert "steps in turn" in text
    assert len(text.strip().splitlines()) == 1 + len(found)


def test_layouts_spends_a_budget_on_copies(pimc, model) -> None:
    found = pimc("layouts", "tiny.onnx", "--array", "16x8", "--budget", "40", "--json").json
    pipeline = found["pipeline"]
    assert [stage["layer"] for stage in pipeline["stages"]] == ["w1", "w2", "w3"]
    assert pipeline["arrays"] <= 40
    assert pipeline["stages"][0]["copies"] > 1
    assert "as a pipeline on" in pimc("layouts", "tiny.onnx", "--budget", "40").out
    few = pimc("layouts", "tiny.onnx", "--array", "16x8", "--budget", "6")
    assert few.code == 2
    assert "one copy of every layer takes 7 arrays, the budget is 6" in few.err


def test_layouts_says_which_layers_to_give_more_cells_first(pimc, model) -> None:
    options = ("--array", "16x8", "--levels", "4", "--calib", "calib.npz")
    found = pimc("layouts", "tiny.onnx", *options, "--try", "offset", "--try", "sliced:2",
                 "--json").json["front"]  # fmt: skip
    points = found["points"]
    assert found["minimize"] == "cells"
    assert points[0]["cells"] == points[0]["cost"] == found["weights"]
    assert points[0]["layer"] is None
    assert {one["layer"] for one in points[1:]} <= {"w1", "w2", "w3"}
    assert {one["mapping"] for one in points[1:]} == {"sliced:2"}
    damages = [one["damage"] for one in points]
    assert damages == sorted(damages, reverse=True)
    text = pimc("layouts", "tiny.onnx", *options, "--minimize", "energy").out
    assert "energy in pJ" in text
    refused = pimc("layouts", "tiny.onnx", "--try", "offset")
    assert refused.code == 2
    assert "--try given without --calib" in refused.err
