"""Every picture says what it stands on, on which chip, and where its axes begin."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib import rcParams
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.pictures import canvas, cells, plots, recovery
from pimc.pictures.canvas import stands_on, tell_break
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


def caption_of(figure: Figure) -> str:
    """In one line."""
    return figure.get_supxlabel().replace("\n", " ")


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
    plots.accuracy_picture(
        tmp_path / "a.png", ["0", "1"], [0.5, 0.6], [0.9, 0.8], 0.95, 0.9, 2000, "c"
    )
    text = "2 dies, 2,000 samples, chip c; error bars: Wilson's 95 % interval over samples"
    assert caption_of(drawn[0]) == text
    # Bars begin at zero, whatever they reach.
    assert drawn[0].axes[0].get_ylim()[0] == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_lines_over_a_parameter(drawn: list[Figure], tmp_path: Path) -> None:
    lines: dict[str, dict[Any, list[float]]] = {
        "one": {4: [0.78, 0.78], 8: [0.7, 0.8, 0.9]},
        "two": {4: [0.5, 0.6], 8: [0.9]},
    }
    plots.lines_picture(
        tmp_path / "a.png", "levels", lines, 100, among=", means over the rest", chip="c"
    )
    text = (
        "a point: 1 to 3 dies, 100 samples, means over the rest, chip c; error bars: 95 % interval"
    )
    assert caption_of(drawn[0]) == f"{text} over dies and samples"
    assert drawn[0].axes[0].get_ylim()[0] == 0
    near = {"": {4: [0.9, 0.91], 8: [0.92, 0.93]}}
    plots.lines_picture(tmp_path / "b.png", "levels", near, 1000)
    assert caption_of(drawn[1]).endswith("dies and samples; the y axis does not begin at 0")
    assert drawn[1].axes[0].get_ylim()[0] > 0
    # Two dies of equal accuracy on 100 samples have a bar.
    wanted = [interval(line[value], 100) for line in lines.values() for value in (4, 8)]
    for found, (low, high) in zip(bars(drawn[0]), wanted, strict=True):
        assert found == pytest.approx((100 * low, 100 * high))


def test_strategies_against_writes(drawn: list[Figure], tmp_path: Path) -> None:
    points = {"none": [(0.0, 0.5), (0.0, 0.6)], "selective": [(0.1, 0.9), (0.1, 0.9)]}
    recovery.strategies_picture(tmp_path / "a.png", points, 0.95, 300, chip="c")
    text = (
        "a strategy: 2 dies, 300 samples, chip c; error bars: 95 % interval over dies and samples"
    )
    assert caption_of(drawn[0]) == text
    assert drawn[0].axes[0].get_ylim()[0] == 0
    wanted = [interval([share for _, share in dies], 300) for dies in points.values()]
    for found, (low, high) in zip(bars(drawn[0]), wanted, strict=True):
        assert found == pytest.approx((100 * low, 100 * high))


def test_errors_of_layers(drawn: list[Figure], tmp_path: Path) -> None:
    recovery.layers_picture(tmp_path / "a.png", {"w": 0.5}, {"affine": {"w": 0.2}}, "of 2 dies")
    assert caption_of(drawn[0]) == "of 2 dies"


def test_a_picture_is_what_its_name_says_with_the_same_bytes(tmp_path: Path) -> None:
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("b.SVG", b"<?xml")):
        found = []
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir(exist_ok=True)
            path = tmp_path / folder / name
            plots.accuracy_picture(path, ["0"], [0.5], [0.9], 0.95, 0.9, 2000, "c")
            found.append(path.read_bytes())
        assert found[0].startswith(start)
        assert found[0] == found[1]
    with pytest.raises(UsageError, match=r"called \.png or \.svg"):
        plots.accuracy_picture(tmp_path / "a.pdf", ["0"], [0.5], [0.9], 0.95, 0.9, 2000)
    assert not (tmp_path / "a.pdf").exists()


def test_an_axis_with_a_zero_has_no_break() -> None:
    figure = canvas.new_figure(3, 3)
    axes = figure.add_subplot()
    axes.plot([1, 2], [0, 5])
    axes.set_ylim(0, 5)
    assert tell_break(axes, "y") == ""
    assert len(axes.lines) == 1
    assert tell_break(axes, "x") == "; the x axis does not begin at 0"
    assert len(axes.lines) == 2


def test_what_is_drawn_elsewhere_keeps_its_style(tmp_path: Path) -> None:
    before = dict(rcParams)
    recovery.layers_picture(tmp_path / "a.png", {"w": 0.5}, {"affine": {"w": 0.2}}, "of 2 dies")
    assert dict(rcParams) == before


def test_series_differ_by_their_marks_and_colours(drawn: list[Figure], tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(8)]
    lines: dict[str, dict[Any, list[float]]] = {name: {4: [0.5], 8: [0.6]} for name in names}
    plots.lines_picture(tmp_path / "a.png", "levels", lines, 100)
    shown: list[Any] = [one[0] for one in drawn[0].axes[0].containers]
    assert len({line.get_marker() for line in shown}) == len(names)
    assert len({line.get_color() for line in shown}) == len(names)


def test_tiles_of_an_array_bear_the_names_of_their_layers(
    tiny_image: Image, tmp_path: Path
) -> None:
    figures: list[Figure] = []
    save: Callable[[Figure, Path], None] = vars(cells)["save_figure"]

    def kept(figure: Figure, path: Path) -> None:
        figures.append(figure)
        save(figure, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "save_figure", kept)
        cells.level_map_picture(tmp_path / "a.svg", tiny_image, 0)
    texts = {text.get_text() for text in figures[0].axes[0].texts} - {""}
    on_array = {
        tiny_image.layers[n].name for n in tiny_image.tiles.layer[tiny_image.tiles.array == 0]
    }
    assert texts
    assert texts <= on_array
    assert tiny_image.chip.name in caption_of(figures[0])


def test_a_picture_in_a_page_takes_its_ink(tmp_path: Path) -> None:
    def draw(place: canvas.Place) -> None:
        lines = {"": {8: [0.7, 0.8], 16: [0.9, 0.9]}}
        plots.lines_picture(place, "levels", lines, 100, in_float=0.95)

    svg = canvas.inline(draw, 'a "line" & more')
    assert svg == canvas.inline(draw, 'a "line" & more')
    assert svg.startswith('<svg role="img" aria-label="a &quot;line&quot; &amp; more" ')
    for left_out in ("<?xml", "<!--", "<style", "<metadata", "#000000", canvas.REFERENCE):
        assert left_out not in svg
    ids = re.findall(r'id="([^"]+)"', svg)
    assert len(set(ids)) == len(ids)
    used = re.findall(r'(?:href="|url\()#([^")]+)', svg)
    assert used
    assert set(used) <= set(ids)
    draw(tmp_path / "a.svg")
    assert "#000000" in (tmp_path / "a.svg").read_text(encoding="utf-8")
