"""A point of a sweep is what it would be alone, whatever stands beside it in the grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc import api
from pimc.chip.design import Chip
from pimc.chip.grid import Point
from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.graph.frontend import load_model
from pimc.studies.evaluate import Batches, float_session
from pimc.studies.sweep import Setup, sweep
from tests.lab import install


@pytest.fixture(scope="module")
def setup(tiny_model, tiny_image: Image, tiny_chip: Chip, tiny_inputs: np.ndarray) -> Setup:
    labels = float_session(tiny_image).run(None, {"x": tiny_inputs})[0].argmax(axis=1)
    data = Dataset.of(tiny_inputs, labels)
    return Setup(load_model(tiny_model()), tiny_chip, Dataset.of(tiny_inputs), Batches(data), (3,))


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("variation.cell_relative", (0.0, 0.3)),
        ("variation.row_relative", (0.0, 0.3)),
        ("mapping.reference_sigma_us", (0.0, 6.0)),
        ("read_noise.relative", (0.0, 0.2)),
        ("faults.stuck_gmin_rate", (0.0, 0.3)),
        ("adc.gain_error", (0.0, 0.3)),
        ("array.wire_ohm", (0.0, 50.0)),
        ("cell.iv_alpha", (0.0, 3.0)),
        ("adc.bits", (8, 4)),
    ],
)
def test_a_point_does_not_depend_on_its_neighbours(
    key: str, values: tuple[float, float], setup: Setup, tmp_path: Path
) -> None:
    points: list[Point] = [{key: value} for value in values]
    beside = sweep(setup, points, tmp_path / "beside.csv").rows
    for number, point in enumerate(points):
        (alone,) = sweep(setup, [point], tmp_path / f"alone{number}.csv").rows
        assert {**beside[number], "seconds": 0} == {**alone, "seconds": 0}
    assert beside[0]["image_sha256"] != beside[1]["image_sha256"]


def test_terms_of_a_laboratorys_own_are_swept(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    compiled = []
    original = api.compile

    def counted(*arguments: Any, **options: Any) -> Image:
        compiled.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(api, "compile", counted)
    points: list[Point] = [
        {"physics.read.shot.factor_us": factor, "physics.cell.relax.sigma": sigma}
        for sigma in (0.1, 4.0)
        for factor in (0.0, 50.0)
    ]
    rows = sweep(setup, points, tmp_path / "own.csv").rows
    # The compiler looks at what cells hold, and at no read.
    assert len(compiled) == 2
    assert rows[0]["accuracy_mean"] > rows[1]["accuracy_mean"]
    for number, point in enumerate(points):
        (alone,) = sweep(setup, [point], tmp_path / f"own{number}.csv").rows
        assert {**rows[number], "seconds": 0} == {**alone, "seconds": 0}
