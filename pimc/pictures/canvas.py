"""What all pictures are drawn on, and how they are written."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from pimc.extras import require
from pimc.files.writing.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["REFERENCE", "caption", "new_figure", "save_figure", "stands_on"]

#: Colour of what results are held against.
REFERENCE = "#444444"
_DPI = 150


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches.

    Raises:
        MissingLibraryError: matplotlib is not installed.
    """
    require("matplotlib", what="a picture")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def stands_on(dies: int | Collection[int], samples: int | None = None) -> str:
    """What figures stand on: ``5 dies, 2,000 samples``.

    Args:
        dies: how many; of several points the number of each.
        samples: that every die met; None where they are not what it is about.
    """
    counts = [dies] if isinstance(dies, int) else sorted(set(dies))
    several = f"{counts[0]:,} to {counts[-1]:,}" if len(counts) > 1 else f"{counts[0]:,}"
    text = f"{several} die{'s' * (counts[-1] != 1)}"
    return text if samples is None else f"{text}, {samples:,} sample{'s' * (samples != 1)}"


def caption(figure: Figure, text: str) -> None:
    """Write below a figure what it stands on."""
    figure.supxlabel(text, fontsize=8, color=REFERENCE)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    with replacing(path) as stream:
        # Without the name and version of the software the bytes depend on the picture alone.
        figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
