"""Draws the pictures of docs/physics.md: ``python docs/physics_figures.py [NAME …]``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

IMAGES = Path(__file__).parent / "images"

#: What draws each picture, by the name in ``physics-NAME.png``.
FIGURES: dict[str, Callable[[Axes], None]] = {}


def draw(name: str, folder: Path = IMAGES) -> Path:
    """Draw one picture and return its path."""
    figure = Figure(figsize=(4.8, 3.0), dpi=100, layout="constrained")
    FIGURES[name](figure.subplots())
    path = folder / f"physics-{name}.png"
    # Without the version in it, the file changes only when the picture does.
    figure.savefig(path, metadata={"Software": None})
    return path


if __name__ == "__main__":
    mpl.use("Agg")
    for chosen in sys.argv[1:] or sorted(FIGURES):
        print(draw(chosen))
