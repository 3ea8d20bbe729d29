"""Draws the pictures of docs/physics.md: ``python docs/physics_figures.py [NAME …]``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pimc.chip import Chip
from pimc.mapping import codebook
from pimc.passes import rounding
from pimc.passes.ranges import adc_range, synthetic_codes
from pimc.runtime.device import Region
from pimc.runtime.die import Die
from pimc.runtime.sim import SimDevice

IMAGES = Path(__file__).parent / "images"


def conversion_error(chip: Chip, rows: int, cols: int) -> float:
    """Error energy that converters add to one tile of normal weights, over the signal's."""
    rng = np.random.default_rng(0)
    book = codebook(chip)
    # Columns of unlike strength, as networks have them.
    weight = rng.standard_normal((1, rows, cols)) * rng.lognormal(0, 0.5, (1, 1, cols))
    grid = rounding.choose_grid(weight, np.ones((1, rows)), book, 0.0)
    codes = rounding.round_nearest(weight, grid, book)
    vectors = synthetic_codes(chip, False, rows, 1, rng)
    adc = adc_range(chip, book, codes, grid, vectors, False, rng)
    lsb = adc.lsb_us if adc.column_lsb_us is None else adc.column_lsb_us
    cells = np.arange(rows)[:, None] * chip.array.cols + np.arange(cols)
    region = Region("tile", cells[None], lsb, False)
    inputs = torch.from_numpy(vectors.transpose(0, 2, 1)[None].astype(np.float32))
    reads = []
    for converters in (True, False):
        device = SimDevice(Die.ideal(), chip, 1, converters=converters)
        device.program(cells.reshape(-1), book.levels[codes[0]].reshape(-1))
        current = device.read(region, inputs)[0, 0].numpy() * np.atleast_2d(lsb).T
        reads.append(current * grid.scale.T)
    found, wanted = reads
    return float(np.square(found - wanted).sum() / np.square(wanted).sum())


def converters(axes: Axes) -> None:
    """Error of conversion against ADC bits, parallel and bit-serial, by layer and by column."""
    bits = range(4, 13)
    for mode, colour in (("parallel", "tab:blue"), ("bit_serial", "tab:orange")):
        for shared, style in (("layer", "-"), ("column", "--")):
            chip = Chip.default().with_(**{"dac.mode": mode, "adc.range": shared})
            errors = [
                conversion_error(chip.with_(**{"adc.bits": count}), 128, 64) for count in bits
            ]
            axes.semilogy(bits, errors, style, color=colour, label=f"{mode}, range by {shared}")
    axes.set_xlabel("ADC bits")
    axes.set_ylabel("error energy of conversion")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


#: What draws each picture, by the name in ``physics-NAME.png``.
FIGURES: dict[str, Callable[[Axes], None]] = {"converters": converters}


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
