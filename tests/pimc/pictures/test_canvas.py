"""Every picture of accuracies says how many dies and samples it stands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from pimc.pictures import canvas, plots, recovery
from pimc.pictures.canvas import stands_on
from pimc.studies.intervals import interval


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    figures: list[Figure] = []
    save = canvas.save_figure

    def kept(figure: Figure, path: str | Path) -> None:
        figures.append(figure)
        save(figure, path)

    for module in (plots, recovery):
        monkeypatch.setattr(module, "save_figure", kept)
    return figures


def bars(figure: Figure) -> list[tuple[float, float]]:
    """Ends of the error bars, lines one after the other."""
    (axes,) = figure.axes
    found = []
    for container in axes.containers:
        assert isinstance(container, ErrorbarContainer)
        (segments,) = container.lines[2]
        found += [(float(low), float(high)) for (_, low), (_, high) in segments.get_segments()]
    return found


def test_counts_in_words() -> None:
    assert stands_on(1, 1) == "1 die, 1 sample"
    assert stands_on(5, 2000) == "5 dies, 2,000 samples"
    assert stands_on([5, 2, 2], 846) == "2 to 5 dies, 846 samples"
    assert stands_on([3, 3], 10) == "3 dies, 10 samples"
    assert stands_on(2) == "2 dies"


def test_accuracies_of_dies(drawn: list[Figure], tmp_path: Path) -> None:
    plots.accuracy_picture(tmp_path / "a.png", ["0", "1"], [0.5, 0.6], [0.9, 0.8], 0.95, 0.9, 2000)
    assert drawn[0].get_supxlabel() == "2 dies, 2,000 samples"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_lines_over_a_parameter(drawn: list[Figure], tmp_path: Path) -> None:
    lines: dict[str, dict[Any, list[float]]] = {
        "one": {4: [0.78, 0.78], 8: [0.7, 0.8, 0.9]},
        "two": {4: [0.5, 0.6], 8: [0.9]},
    }
    plots.lines_picture(tmp_path / "a.png", "levels", lines, 100, among=", means over the rest")
    text = "a point: 1 to 3 dies, 100 samples, means over the rest; bars: 95 % interval over dies"
    assert drawn[0].get_supxlabel() == f"{text} and samples"
    # Two dies of equal accuracy on 100 samples have a bar.
    wanted = [interval(line[value], 100) for line in lines.values() for value in (4, 8)]
    for found, (low, high) in zip(bars(drawn[0]), wanted, strict=True):
        assert found == pytest.approx((100 * low, 100 * high))


def test_strategies_against_writes(drawn: list[Figure], tmp_path: Path) -> None:
    points = {"none": [(0.0, 0.5), (0.0, 0.6)], "selective": [(0.1, 0.9), (0.1, 0.9)]}
    recovery.strategies_picture(tmp_path / "a.png", points, 0.95, 300)
    text = "a strategy: 2 dies, 300 samples; bars: 95 % interval over dies and samples"
    assert drawn[0].get_supxlabel() == text
    wanted = [interval([share for _, share in dies], 300) for dies in points.values()]
    for found, (low, high) in zip(bars(drawn[0]), wanted, strict=True):
        assert found == pytest.approx((100 * low, 100 * high))


def test_errors_of_layers(drawn: list[Figure], tmp_path: Path) -> None:
    recovery.layers_picture(tmp_path / "a.png", {"w": 0.5}, {"affine": {"w": 0.2}}, "of 2 dies")
    assert drawn[0].get_supxlabel() == "of 2 dies"
