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

from pimc.chip.cell.programming_error import Polynomial
from pimc.chip.cell.write_verify import WriteVerify
from pimc.chip.codebook import codebook
from pimc.chip.converters import dac_limits
from pimc.chip.design import Chip, ReadNoise
from pimc.passes.quantize import rounding
from pimc.passes.quantize.ranges import adc_range, synthetic_codes
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.physics import read_noise
from pimc.runtime.physics.disturb import disturbed_us
from pimc.runtime.physics.ir_drop import METHODS
from pimc.runtime.physics.iv import driven

IMAGES = Path(__file__).parent / "images"


def programming(axes: Axes) -> None:
    """σ(G) of the shipped chips."""
    for name in Chip.shipped():
        cell = Chip.load(name).cell
        g_us = np.linspace(cell.g_min_us, cell.g_max_us, 200)
        axes.plot(g_us / cell.g_max_us, 100 * cell.sigma.sigma_us(g_us) / cell.range_us, label=name)
    axes.set(xlabel="G / g_max", ylabel="σ in % of the range", ylim=(0, None))
    axes.figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize=8)


def landing(axes: Axes) -> None:
    """What cells hold that were asked for 20 µS, by kind of error, each with σ 4.4 to 5.1 µS."""
    verify = {"tolerance_us": 4.0, "max_pulses": 3, "pulse_coefficients_us": [7.0],
              "relaxation_coefficients_us": [0.5]}  # fmt: skip
    kinds = {
        "constant": {"constant_us": 5.0},
        "lognormal": {"ln_sigma": 0.25},
        "write_verify": verify,
    }
    for kind, keys in kinds.items():
        chip = _written(Chip.default().with_(**{"cell.sigma": {"kind": kind} | keys}))
        held = chip.cells.g_us.reshape(-1)
        axes.hist(held, np.linspace(0, 45, 91), density=True, histtype="step", label=kind)
    axes.set(xlabel="conductance after the write in µS", ylabel="share per µS")
    axes.legend(frameon=False, fontsize=8)


def write_verify(axes: Axes) -> None:
    """Pulses and spread against the tolerance."""
    widths, target = np.linspace(0.1, 3, 120), np.zeros(1)
    models = [WriteVerify(a, 10, Polynomial((1.0,)), Polynomial((0.3,))) for a in widths]
    axes.plot(widths, [m.pulses(target)[0] for m in models], color="C0", label="pulses")
    axes.set(xlabel="tolerance / σ of a pulse", ylabel="pulses a cell", ylim=(0, None))
    right = axes.twinx()
    right.plot(widths, [m.success(target)[0] for m in models], "C1--", label="accepted")
    right.plot(widths, [m.sigma_us(target)[0] for m in models], "C2:", label="σ / σ of a pulse")
    right.set(ylim=(0, 1.1))
    axes.figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)


def variation(axes: Axes) -> None:
    """One array's factors: rows and columns stand out from the cells' own share."""
    shares = {"cell_relative": 0.03, "row_relative": 0.04, "col_relative": 0.04}
    die = _written(Chip.default().with_array(64, 64).with_sigma(0.0).with_(variation=shares))
    factor = die.cells.g_us[0] / die.cells.g_us[0].mean()
    drawn = axes.imshow(factor, cmap="RdBu_r", vmin=0.85, vmax=1.15)
    axes.figure.colorbar(drawn, label="conductance / mean")
    axes.set(xlabel="bitline", ylabel="wordline")


def faults(axes: Axes) -> None:
    """One array with stuck cells and dead lines, all cells asked for the same level."""
    rates = {"stuck_gmax_rate": 0.0175, "stuck_gmin_rate": 0.0904, "dead_row_rate": 0.03,
             "dead_col_rate": 0.03}  # fmt: skip
    die = _written(Chip.default().with_array(64, 64).with_(faults=rates))
    drawn = axes.imshow(die.cells.g_us[0], cmap="viridis", vmin=0, vmax=40)
    axes.figure.colorbar(drawn, label="conductance in µS")
    axes.set(xlabel="bitline", ylabel="wordline")


def retention(axes: Axes) -> None:
    """Standard deviation about the target against time since the write."""
    for name, level in (("neurram", 8), ("neurram", 15), ("cmo", 16)):
        die = _written(Chip.load(name).with_array(128, 128), level)
        target = die.attached().cell.g_levels_us[level]
        cells, seconds, spread = np.arange(128 * 128), [], []
        for instant in np.geomspace(1, 3e7, 40):
            die.age(instant - die.clock_s)
            seconds.append(instant)
            spread.append(float((die.held_us(cells) - target).std()))
        axes.semilogx(seconds, spread, label=f"{name}, {target:.0f} µS")
    axes.set(xlabel="seconds since the write", ylabel="σ about the target in µS", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)


def _written(chip: Chip, level: int = 7) -> Die:
    """A die of one array, all cells written with one level."""
    die = Die.simulated(1)
    die.attach(chip, 1)
    size = die.cells.level.size
    die.program(np.arange(size), np.full(size, level))
    return die


def white_noise(axes: Axes) -> None:
    """σ of one read over the range of two chips."""
    for name, label in (("generic-128", "generic-128: 1 % of G"), ("cmo", "cmo, after 1 s")):
        chip = Chip.load(name)
        g_us = np.linspace(chip.cell.g_min_us, chip.cell.g_max_us, 200)
        axes.plot(g_us, np.sqrt(read_noise.variance_us2(chip.read_noise, g_us)), label=label)
    axes.set(xlabel="G (µS)", ylabel="σ of a read (µS)")
    axes.legend()


def telegraph(axes: Axes) -> None:
    """Three cells with a trap over time."""
    noise = ReadNoise(rtn_share=1.0, rtn_amplitude=0.05, rtn_duty=0.3, rtn_dwell_samples=64)
    samples = np.arange(0, 2048, 16)
    cells = np.arange(3)
    factor = [read_noise.telegraph(noise, 1, read_noise.CELL, cells, n) for n in samples]
    for cell, g_us in zip(cells, (10, 20, 30), strict=True):
        axes.step(samples, g_us * np.asarray(factor)[:, cell], where="post")
        axes.axhline(g_us, color="0.7", linewidth=0.8, zorder=0)
    axes.set(xlabel="network inputs", ylabel="G (µS)")


def disturb(axes: Axes) -> None:
    """A cell of 5 µS under reads, with and without alternating polarity."""
    chip = Chip.default().with_(**{"disturb.tau0_s": 1.0})
    reads = np.logspace(0, 8, 200)
    for volt in (0.1, 0.2, 0.3):
        at = chip.with_(**{"array.v_read_v": volt})
        axes.semilogx(reads, disturbed_us(at, np.full(200, 5.0), reads), label=f"{volt} V")
    alternating = chip.with_(**{"array.v_read_v": 0.3, "disturb.net_stress": 0.01})
    g_us = disturbed_us(alternating, np.full(200, 5.0), reads)
    axes.semilogx(reads, g_us, "--", color="C2", label="0.3 V, 1 % net")
    axes.set(xlabel="reads of 100 ns", ylabel="G (µS)")
    axes.legend(fontsize="small")


def iv(axes: Axes) -> None:
    """Current over voltage for some curvatures."""
    codes = torch.arange(-127, 128).float()
    for alpha in (0.0, 1.0, 2.0, 4.0):
        axes.plot(codes / 127, driven(codes, 127, alpha) / 127, label=f"α = {alpha:g}")
    axes.set(xlabel="V over full scale", ylabel="I over full scale")
    axes.legend(fontsize="small")


def ir_drop(axes: Axes) -> None:
    """What wires leave of every bitline's current where all inputs are at full scale."""
    g_us = np.random.default_rng(0).choice(Chip.default().cell.g_levels_us, (128, 128))
    for colour, wire_ohm in (("C0", 0.35), ("C1", 1.0)):
        first, exact = (
            METHODS[name](g_us, np.arange(128), 128, wire_ohm).effective_us(g_us).sum(axis=0)
            for name in ("first", "exact")
        )
        ideal = g_us.sum(axis=0)
        axes.plot(100 * exact / ideal, color=colour, label=f"{wire_ohm:g} Ω, exact")
        axes.plot(100 * first / ideal, ":", color="black", linewidth=1.2)
    axes.plot([], ":", color="black", label="first order")
    axes.set(xlabel="bitline, counted from the drivers", ylabel="current that is left (%)")
    axes.legend(fontsize="small")


def conversion_error(chip: Chip, rows: int, cols: int) -> float:
    """Error energy that converters add to one tile of normal weights, over the signal's."""
    rng = np.random.default_rng(0)
    book = codebook(chip)
    # Columns of unlike strength, as networks have them.
    weight = rng.standard_normal((1, rows, cols)) * rng.lognormal(0, 0.5, (1, 1, cols))
    grid = rounding.choose_grid(weight, np.ones((1, rows)), book, 0.0)
    codes = rounding.round_nearest(weight, grid, book)
    vectors = synthetic_codes(dac_limits(chip, False), rows, 1, rng)
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
FIGURES: dict[str, Callable[[Axes], None]] = {
    "converters": converters,
    "faults": faults,
    "landing": landing,
    "programming": programming,
    "retention": retention,
    "variation": variation,
    "write-verify": write_verify,
    "white-noise": white_noise,
    "telegraph": telegraph,
    "disturb": disturb,
    "iv": iv,
    "ir-drop": ir_drop,
}


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
