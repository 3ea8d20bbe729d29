"""Draws the picture of docs/architecture.md from the import rules.

Run ``python docs/rooms_figure.py``.
"""

from __future__ import annotations

import ast
import textwrap
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from pimc.pictures.canvas import new_figure, save_figure

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "rooms.png"
#: Where the packages of a contract's container lie.
_FOLDERS = {"pimc": "pimc", "pimc.passes": "passes", "pimc.runtime": "runtime"}
_WIDTH, _FLOOR, _GAP = 100.0, 3.6, 0.8
#: Where what a room says begins.
_NAMES = 13.5
_WALLS = {"pimc": "#eef3fa", "pimc.passes": "#fdf3e3", "pimc.runtime": "#eaf5ea"}


def floors(container: str) -> list[list[str]]:
    """Rooms of a container from the top floor down, those side by side together."""
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts: list[dict[str, Any]] = rules["tool"]["importlinter"]["contracts"]
    for contract in contracts:
        if contract["type"] == "layers" and contract["containers"] == [container]:
            return [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]
    raise KeyError(container)


def says(container: str, room: str) -> str:
    """What a room says of itself: the first sentence of its docstring."""
    folder = ROOT / _FOLDERS[container]
    if container == "pimc" and f"pimc.{room}" in _FOLDERS:
        folder, room = ROOT / _FOLDERS[f"pimc.{room}"], ""
    path = folder / room / "__init__.py"
    source = path if path.is_file() else folder / f"{room}.py"
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ").rstrip(".")


def draw(path: Path = PICTURE) -> Path:
    """Draw the rooms on their floors; every room imports what stands below it.

    Returns:
        The picture's path.
    """
    layers = floors("pimc")
    heights = [_height(layer) for layer in layers]
    total = sum(heights) + _GAP * (len(layers) - 1)
    figure = new_figure(10.0, total * 0.115)
    axes = figure.subplots()
    axes.set(xlim=(0, _WIDTH), ylim=(0, total))
    axes.axis("off")
    top = total
    for layer, height in zip(layers, heights, strict=True):
        width = (_WIDTH - _GAP * (len(layer) - 1)) / len(layer)
        for number, room in enumerate(layer):
            _room(axes, "pimc", room, number * (width + _GAP), top - height, width, height)
        top -= height + _GAP
    save_figure(figure, path)
    return path


def _height(layer: Sequence[str]) -> float:
    """Of a floor; one whose room has rooms of its own is as high as these need."""
    inner = max((len(_inside(room)) for room in layer), default=0)
    return _FLOOR + inner * (_FLOOR * 0.85) + _GAP if inner else _FLOOR


def _inside(room: str) -> list[list[str]]:
    container = f"pimc.{room}"
    return floors(container) if container in _FOLDERS else []


def _room(
    axes: Axes, container: str, room: str, left: float, bottom: float, width: float, height: float
) -> None:
    inner = _inside(room) if container == "pimc" else []
    walls = _WALLS[f"pimc.{room}" if inner else container]
    box = FancyBboxPatch(
        (left, bottom), width, height, boxstyle="round,pad=0,rounding_size=0.8",
        facecolor=walls if inner or container == "pimc" else "white", edgecolor="#8899aa",
        linewidth=0.8,
    )  # fmt: skip
    axes.add_patch(box)
    name_at = bottom + height - _FLOOR / 2 if inner else bottom + height / 2
    size = 9 if container == "pimc" else 8
    axes.text(left + 1.2, name_at, room, fontsize=size, fontweight="bold", va="center")
    text = _wrapped(says(container, room), width - _NAMES)
    axes.text(left + _NAMES, name_at, text, fontsize=7, va="center")
    step = _FLOOR * 0.85
    for floor, rooms in enumerate(inner):
        each = (width - 2 * _GAP - _GAP * (len(rooms) - 1)) / len(rooms)
        for number, name in enumerate(rooms):
            _room(
                axes,
                f"pimc.{room}",
                name,
                left + _GAP + number * (each + _GAP),
                bottom + step * (len(inner) - floor - 1) + _GAP,
                each,
                step - _GAP * 0.6,
            )


def _wrapped(text: str, width: float) -> str:
    """A sentence on as many of two lines as a box of this width needs."""
    return textwrap.fill(text, int(width * 1.4), max_lines=2, placeholder=" …")


if __name__ == "__main__":
    print(draw())
