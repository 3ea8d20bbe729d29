"""What all pictures are drawn on: one style, one palette, axes that tell where they begin.

Colours are those of Okabe and Ito, which people tell apart whatever they see of colours
(https://jfly.uni-koeln.de/color); lines differ by their marks, too, so that print without colour
tells them apart. A picture is a PNG or an SVG, as its file is called; the same input gives the
same bytes.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from html import escape
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, ParamSpec, TypeAlias, TypeVar

from pimc.errors import UsageError
from pimc.extras import require
from pimc.files.writing.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "AFTER",
    "BEFORE",
    "FAINT",
    "MARK",
    "REFERENCE",
    "Place",
    "caption",
    "inline",
    "marks",
    "new_figure",
    "on_chip",
    "require_picture",
    "save_figure",
    "stands_on",
    "styled",
    "tell_break",
]

#: Where a picture goes: a file called ``.png`` or ``.svg``, or a stream, which gets an SVG.
Place: TypeAlias = str | Path | BinaryIO

P = ParamSpec("P")
T = TypeVar("T")

#: Colour of what results are held against.
REFERENCE = "#444444"
#: Before and after recovery, what stands out, and what stands back.
BEFORE, AFTER, MARK, FAINT = "#8d99a6", "#0072b2", "#d55e00", "#f6d9c4"
_SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8d99a6")
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DPI = 150
_SUFFIXES = (".png", ".svg")
_LETTERS_A_INCH = 17
#: What a page that holds an SVG has itself, or has no use for: the head, notes, common styles.
_OF_FILES = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>|"
                       r"<style.*?</style>", re.DOTALL)  # fmt: skip
_NAMES = re.compile(r'(id="|href="#|url\(#)')


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Marks a function that draws: all within it has the style of this module, and nothing else."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        from matplotlib import rc_context

        with rc_context(_style()):
            return draw(*args, **kwargs)

    return drawn


def _style() -> Any:
    """The parameters of matplotlib that make the style."""
    from matplotlib.rcsetup import cycler

    return {
        "axes.prop_cycle": cycler("color", _SERIES),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 10,
        "font.size": 9,
        "legend.fontsize": 8,
        "legend.frameon": False,
        # Letters as outlines: they look the same on every machine.
        "svg.fonttype": "path",
        "text.parse_math": False,  # names may have a $
        "svg.hashsalt": "pimc",
    }


def marks(count: int) -> list[str]:
    """Marks by which so many lines are told apart."""
    return list(islice(cycle(_MARKS), count))


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


def on_chip(chip: str) -> str:
    """The chip, as captions end with it; nothing where it is not known."""
    return f", chip {chip}" if chip else ""


def caption(figure: Figure, text: str) -> None:
    """Write below a figure what it stands on, in as many lines as it takes."""
    from textwrap import fill

    width = int(figure.get_figwidth() * _LETTERS_A_INCH)
    figure.supxlabel(fill(text, width), fontsize=8, color=REFERENCE)


def tell_break(axes: Axes, which: Literal["x", "y"] = "y", least: float = -math.inf) -> str:
    """Show that an axis does not begin at zero, where it does not: two strokes through its end.

    It is called when all is drawn. The scale must be linear.

    Args:
        least: no value can be below; the axis ends there.

    Returns:
        What the caption says of it; empty where the axis has a zero.
    """
    low, high = axes.get_ylim() if which == "y" else axes.get_xlim()
    if low < least:
        # Room that was left below the least value that there can be.
        low = least
        (axes.set_ylim if which == "y" else axes.set_xlim)(low, high)
    if low <= 0 <= high or high <= 0 <= low:
        return ""
    place: Mapping[str, list[tuple[float, float]]] = {
        "y": [(0.0, 0.02), (0.0, 0.045)],
        "x": [(0.02, 0.0), (0.035, 0.0)],
    }
    tilted = [(-1.0, -0.5), (1.0, 0.5)] if which == "y" else [(-0.5, -1.0), (0.5, 1.0)]
    x, y = zip(*place[which], strict=True)
    axes.plot(
        x, y, linestyle="none", marker=tilted, markersize=7, color="black", markeredgewidth=1,
        transform=axes.transAxes, clip_on=False, zorder=5,
    )  # fmt: skip
    return f"; the {which} axis does not begin at 0"


def require_picture(path: str | Path | None) -> None:
    """Make sure, before long work, that a picture's name says what it is.

    Raises:
        UsageError: it ends neither with ``.png`` nor with ``.svg``.
    """
    if path is not None and Path(path).suffix.lower() not in _SUFFIXES:
        raise UsageError(
            "a picture is called .png or .svg",
            where=str(path),
            hint=f"for example {Path(path).stem or 'picture'}.svg",
        )


def save_figure(figure: Figure, path: Place) -> None:
    """Write a figure as PNG or SVG, as the name says, whole or not at all.

    A stream gets an SVG without a ground.

    Raises:
        UsageError: the name says neither, or the file cannot be written.
    """
    if not isinstance(path, str | Path):
        figure.savefig(path, format="svg", transparent=True)
        return
    require_picture(path)
    kind = Path(path).suffix.lower()[1:]
    # Without name and version of the software and the time the bytes depend on the picture alone.
    told = {"png": ("Software",), "svg": ("Creator", "Date")}[kind]
    with replacing(path) as stream:
        figure.savefig(stream, format=kind, dpi=_DPI, metadata=dict.fromkeys(told))


def inline(draw: Callable[[BinaryIO], None], text: str) -> str:
    """A picture as an SVG that stands in a page: its ink is that of the text, light or dark.

    Args:
        draw: draws it into a stream.
        text: what it shows, for those who do not see it.

    Raises:
        MissingLibraryError: matplotlib is not installed.
    """
    require("matplotlib", what="a picture")
    stream = io.BytesIO()
    draw(stream)
    svg = _OF_FILES.sub("", stream.getvalue().decode()).strip()
    for ink in ("#000000", REFERENCE):
        svg = svg.replace(ink, "currentColor")
    # Of several pictures on a page each has names of its own.
    own = f"p{hashlib.sha256(svg.encode()).hexdigest()[:8]}-"
    svg = _NAMES.sub(rf"\g<1>{own}", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(text)}" ', 1)
