"""What all pictures are drawn on, and how they are written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pimc.files.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["REFERENCE", "new_figure", "save_figure"]

#: Colour of what results are held against.
REFERENCE = "#444444"
_DPI = 150


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    with replacing(path) as stream:
        # Without the name and version of the software the bytes depend on the picture alone.
        figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
