"""Tables of sweeps and recoveries, comparisons and evaluations, as chapters."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import pimc
from pimc import extras
from pimc.reports.blocks import Dots, Part
from pimc.studies.recoveries.columns import write_rows as write_recoveries
from pimc.studies.sweep import Swept
from pimc.studies.sweep_table import write_rows as write_sweep
from pimc.tasks.classification import CLASSIFICATION
from tests.pimc.reports.rows import die, point, wafer


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    write_sweep(tmp_path / "net.sweep.csv", [point(8, 0.7), point(16, 0.9), point(64, None, "no")])
    return tmp_path / "net.sweep.csv"


def blocks(part: Part, kind: str) -> list[Any]:
    return [one for one in (*part.brief, *part.blocks) if one.kind == kind]


def texts(part: Part, column: str) -> list[str]:
    table = next(one for one in blocks(part, "table") if column in one.columns)
    at = list(table.columns).index(column)
    return [row[at].text for row in table.rows]


def test_points_of_a_sweep(sweep: Path) -> None:
    (part,) = pimc.report(sweep).parts
    assert part.what == "sweep"
    assert texts(part, "levels") == ["8", "16", "64"]
    assert texts(part, "Mean accuracy") == ["70.00 %", "90.00 %", "–"]
    assert texts(part, "95 % interval")[0] == "68.00 to 72.00 %"
    assert texts(part, "Why not compiled") == ["–", "–", "no"]
    (dots,) = blocks(part, "dots")
    assert [label for label, _ in dots.rows] == ["levels = 8", "levels = 16"]
    assert dots.note.startswith("A point: 3 dies, 200 samples.")
    assert dict(blocks(part, "facts")[0].told)["Points"] == "3, 1 not compiled"
    assert [one.title for one in blocks(part, "picture")] == ["Accuracy against levels"]


def test_a_sweep_in_memory_is_shown_like_its_file(sweep: Path) -> None:
    rows: list[Mapping[str, Any]] = [point(8, 0.7), point(16, 0.9)]
    (part,) = pimc.report(Swept(rows, 2)).parts
    assert texts(part, "Mean accuracy") == ["70.00 %", "90.00 %"]


def test_dies_of_a_table_of_recoveries(tmp_path: Path) -> None:
    rows = [die(900, 0.5, 0.9), die(901, 0.6, 0.92), die(902, None, None, "does not answer")]
    write_recoveries(tmp_path / "net.r1.dies.csv", rows, CLASSIFICATION)
    (part,) = pimc.report(tmp_path / "net.r1.dies.csv").parts
    facts = dict(part.brief[0].told)  # type: ignore[attr-defined]
    assert facts["Dies"] == "3, 1 failed"
    assert facts["Accuracy, as programmed"].startswith("55.00 % (95 % interval ")
    assert facts["Accuracy, recovered"].startswith("91.00 %")
    (dots,) = blocks(part, "dots")
    assert [label for label, _ in dots.rows] == ["sim:900", "sim:901"]
    assert texts(part, "accuracy after") == ["90.00 %", "92.00 %", "–"]
    assert texts(part, "Share") == ["10.0 %", "10.0 %", "–"]
    assert texts(part, "Why not recovered")[2] == "does not answer"
    assert [one.title for one in blocks(part, "picture")] == ["Accuracy that dies reach"]


def test_of_many_dies_the_worst_are_listed_and_some_of_all_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pimc.reports.chapters.tables._MOST_ROWS", 3)
    monkeypatch.setattr("pimc.reports.chapters.tables._MOST_DRAWN", 5)
    monkeypatch.setattr("pimc.reports.chapters.tables._DRAWN_OF_MANY", 3)
    reached = (0.9, 0.8, None, 0.95, 0.7, 0.85, 0.91)
    rows = [die(n, 0.5, one, "" if one else "no answer") for n, one in enumerate(reached)]
    write_recoveries(tmp_path / "net.r1.dies.csv", rows, CLASSIFICATION)
    page = pimc.report(tmp_path / "net.r1.dies.csv")
    assert texts(page.parts[0], "Die") == ["sim:1", "sim:2", "sim:4"]
    assert "The dies that failed and the worst ones: 3 of 7." in page.html
    (dots,) = blocks(page.parts[0], "dots")
    assert [label for label, _ in dots.rows] == ["sim:0", "sim:3", "sim:5"]
    assert dots.note.endswith("These are 3 of 6 dies, evenly out of the table.")
    kinds = [one.kind for one in page.parts[0].blocks]
    assert kinds.index("picture") < kinds.index("dots")


def test_dies_whose_places_are_known_are_shown_on_the_wafer(tmp_path: Path) -> None:
    write_recoveries(tmp_path / "net.r1.dies.csv", wafer(), CLASSIFICATION)
    page = pimc.report(tmp_path / "net.r1.dies.csv")
    yields, places = blocks(page.parts[0], "picture")
    assert places.title == "Accuracy on the wafer"
    assert places.svg.startswith('<svg role="img" aria-label="Accuracy on the wafer" ')
    # Names within a picture are its own, and nothing of it reaches the rest of the page.
    assert not set(re.findall(r'id="([^"]+)"', yields.svg)) & set(
        re.findall(r'id="([^"]+)"', places.svg)
    )
    for svg in (yields.svg, places.svg):
        assert "<style" not in svg
        assert "#000000" not in svg
        assert "currentColor" in svg
        assert svg in page.html


def test_without_matplotlib_the_page_says_what_to_install(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "_there", lambda module: module != "matplotlib")
    (part,) = pimc.report(sweep).parts
    told = [dict(one.told) for one in blocks(part, "facts")]
    (text,) = [one["Pictures"] for one in told if "Pictures" in one]
    assert text.endswith("pip install 'pimc[pictures]'")
    assert texts(part, "levels") == ["8", "16", "64"]


def test_what_an_evaluation_told_with_what_costs_what(tmp_path: Path) -> None:
    cost = {"mean": 0.031, "interval_95": [0.02, 0.04], "per_die": [0.031]}
    ratios = dict.fromkeys(
        ("snr_db", "own_snr_db", "cells_snr_db", "read_noise_snr_db", "adc_snr_db"), 20.0
    )
    told = {
        "task": "classification", "metric": "accuracy", "metric_unit": "%", "direction": "higher",
        "samples": 200, "float_accuracy": 0.95, "accuracy_mean": 0.8,
        "accuracy_interval_95": [0.75, 0.85], "accuracy_per_die": [0.8, 0.8],
        "dies": ["sim:900", "sim:901"],
        "explain": {
            "dies": 2, "samples": 200, "snr_samples": 64,
            "elements": [
                {"name": "cell.sigma", "switched_off": cost, "alone": cost},
                {"name": "adc", "switched_off": {**cost, "mean": 0.1, "interval_95": [None, None]},
                 "alone": cost},
            ],
            "layers": [{"name": "w1", "clipped": 0.001, **ratios, "adc_snr_db": None}],
        },
    }  # fmt: skip
    (tmp_path / "eval.json").write_text(json.dumps(told))
    (part,) = pimc.report(tmp_path / "eval.json").parts
    assert part.what == "evaluation"
    dots, costs = blocks(part, "dots")
    assert [label for label, _ in dots.rows] == ["sim:900", "sim:901"]
    assert [(label, mark.text) for label, (mark,) in costs.rows] == [
        ("adc", "10.00 points"), ("cell.sigma", "3.10 points (2.00 to 4.00)"),
    ]  # fmt: skip
    assert texts(part, "ADC") == ["–"]


def test_strategies_of_a_comparison(tmp_path: Path) -> None:
    def outcome(strategy: str, seed: int, after: float) -> dict[str, Any]:
        return {"strategy": strategy, "seed": seed, "accuracy_before": 0.5, "accuracy_after": after,
                "loss": 0.1, "cells_rewritten": 10, "seconds": 1.0}  # fmt: skip

    told = {
        "float_accuracy": 0.95, "samples": 100, "dies": [900, 901], "cells_total": 1000,
        "outcomes": [outcome("none", 900, 0.5), outcome("none", 901, 0.6),
                     outcome("selective", 900, 0.9), outcome("selective", 901, 0.92)],
    }  # fmt: skip
    (tmp_path / "compared.json").write_text(json.dumps(told))
    (part,) = pimc.report(tmp_path / "compared.json").parts
    assert texts(part, "accuracy after") == ["55.00 %", "91.00 %"]
    (dots,) = blocks(part, "dots")
    assert isinstance(dots, Dots)
    assert len(dots.rows) == 4


def test_figures_of_another_task_are_called_by_their_names(tmp_path: Path) -> None:
    told = {
        "task": "regression", "metric": "squared error", "metric_unit": "", "samples": 50,
        "direction": "lower", "metric_mean": 1.25, "metric_interval_95": [1.0, 1.5],
        "metric_per_die": [1.25], "float_metric": 1.0, "dies": ["sim:0"],
    }  # fmt: skip
    (tmp_path / "eval.json").write_text(json.dumps(told))
    (part,) = pimc.report(tmp_path / "eval.json").parts
    facts = dict(part.brief[0].told)  # type: ignore[attr-defined]
    assert facts["Mean squared error"] == "1.25 (95 % interval 1 to 1.5)"
