"""Pictures of cells: levels of an array, and measured conductances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pimc.chip.measured import Measurement
from pimc.image.image import Image
from pimc.pictures.canvas import (
    AFTER,
    BEFORE,
    MARK,
    Place,
    caption,
    new_figure,
    on_chip,
    save_figure,
    styled,
)
from pimc.pictures.tiles import tiles_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

__all__ = ["level_map_picture", "measured_picture"]

#: Width of the axes of a level map in points.
_AXES_POINTS = 330.0


@styled
def level_map_picture(
    path: Place, image: Image, array: int, rewritten: npt.NDArray[np.int64] | None = None
) -> None:
    """The levels of one array's cells, with the layers' names; unused cells stay blank.

    Args:
        rewritten: addresses of cells to mark, as in a list of writes.

    Raises:
        UsageError: the file cannot be written.
    """
    rows, cols = image.chip.array.rows, image.chip.array.cols
    levels = np.where(image.used[array], image.levels[array].astype(float), np.nan)
    figure = new_figure(6.4, 5.6)
    axes = figure.add_subplot()
    count = image.chip.cell.levels
    drawn = axes.imshow(
        levels,
        cmap=_colours("viridis", count),
        vmin=-0.5,
        vmax=count - 0.5,
        interpolation="nearest",
        aspect="auto",
    )
    figure.colorbar(drawn, label="level", ticks=range(0, count, max(1, count // 8)))
    if rewritten is not None:
        inside = np.unique(rewritten[rewritten // (rows * cols) == array]) % (rows * cols)
        line, column = np.divmod(inside, cols)
        label = f"{len(inside):,} cells rewritten"
        axes.scatter(column, line, s=5, marker="s", color=MARK, linewidths=0, label=label)
        figure.legend(loc="outside upper center", markerscale=3)
    _tiles(axes, image, array)
    axes.set_xlabel("bitline")
    axes.set_ylabel("wordline")
    axes.set_xlim(-0.5, cols - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    caption(
        figure,
        f"array {array} of {image.arrays:,}, {image.model.name}"
        f"{on_chip(image.chip.name)}; white: unused cells",
    )
    save_figure(figure, path)


@styled
def measured_picture(path: Place, found: Measurement, chip: str = "") -> None:
    """Measured conductances by level, with the mean and the standard deviation fitted to them.

    Args:
        chip: name of the chip that is made of them.

    Raises:
        UsageError: the file cannot be written.
    """
    figure = new_figure(6.4, 3.6)
    axes = figure.add_subplot()
    position = np.arange(len(found.levels))
    for number, level in enumerate(found.levels):
        # Spread over a part of the level's width by order, so that equal values stay apart.
        shift = np.linspace(-0.35, 0.35, len(level.samples_us))
        axes.plot(number + shift, level.samples_us, ".", color=BEFORE, markersize=2, zorder=1)
    axes.errorbar(
        position,
        [level.mean_us for level in found.levels],
        [level.sigma_us for level in found.levels],
        fmt="_",
        color=AFTER,
        capsize=3,
        label="mean ± σ",
    )
    axes.set_xticks(position[:: -(-len(position) // 16)])
    axes.set_xlabel("level")
    axes.set_ylabel("conductance in µS")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.legend()
    count = sum(len(level.samples_us) for level in found.levels)
    bars = "error bars: one standard deviation"
    caption(figure, f"{count:,} measured conductances{on_chip(chip)}; {bars}")
    save_figure(figure, path)


def _tiles(axes: Axes, image: Image, array: int) -> None:
    """A box round each tile of an array, and the names of the layers where there is room."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    points = _AXES_POINTS / max(image.chip.array.rows, image.chip.array.cols)
    for tile in tiles_of(image, array):
        at = (tile.col - 0.5, tile.row - 0.5)
        axes.add_patch(Rectangle(at, tile.cols, tile.rows, fill=False, edgecolor="white"))
        middle = (at[0] + tile.cols / 2, at[1] + tile.rows / 2)
        axes.text(
            *middle, tile.shown, color="white", fontsize=tile.size * points,
            rotation=-90 if tile.turned else 0, ha="center", va="center",
            path_effects=[withStroke(linewidth=2, foreground="black")],
        )  # fmt: skip


def _colours(name: str, count: int) -> Colormap:
    from matplotlib import colormaps

    return colormaps[name].resampled(count)
