"""Wafers of few and of many dies: what was reached must be seen, and which dies miss a target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pimc.pictures.canvas import MARK
from pimc.pictures.wafer import wafer_picture
from pimc.tasks.classification import CLASSIFICATION

image = pytest.importorskip("matplotlib.image", reason="matplotlib is not installed")
colors = pytest.importorskip("matplotlib.colors", reason="matplotlib is not installed")


def orange(path: Path, side: int, missed: int, target: float | None) -> tuple[float, float]:
    """Orange shares of both halves of a picture: before all dies miss, after so many."""
    places = [(float(n % side), float(n // side)) for n in range(side * side)]
    before: list[float | None] = [0.5] * len(places)
    after: list[float | None] = [0.6 if n < missed else 0.9 for n in range(len(places))]
    wafer_picture(path, places, before, after, CLASSIFICATION.metric, samples=100, target=target)
    pixels = image.imread(path)[..., :3]
    found = np.abs(pixels - colors.to_rgb(MARK)).max(axis=2) < 0.02
    middle = int(0.48 * found.shape[1])  # the scale of colours is on the right
    return float(found[:, :middle].mean()), float(found[:, middle:].mean())


def test_few_dies_have_edges(tmp_path: Path) -> None:
    before, after = orange(tmp_path / "w.png", 5, 5, 0.8)
    assert before > 4 * after > 0
    assert orange(tmp_path / "w.png", 5, 5, None) == (0, 0)


def test_of_many_the_few_that_miss_are_orange(tmp_path: Path) -> None:
    """Edges around ten thousand dies would hide what they reach."""
    before, after = orange(tmp_path / "w.png", 60, 360, 0.8)
    assert before == 0
    none, twice = orange(tmp_path / "w.png", 60, 720, 0.8)
    assert none == 0
    assert twice == pytest.approx(2 * after, rel=0.1)
    assert 0.01 < after < 0.1
    assert orange(tmp_path / "w.png", 60, 2000, 0.8) == (0, 0)
    assert orange(tmp_path / "w.png", 60, 360, None) == (0, 0)
