"""The bank: what the cells of one region conduct and fluctuate by, when it is read.

Whatever is linear and holds still for a while is part of the bank, so that it costs nothing at
a read: what cells hold, read disturb, the state of traps, the resistance of wires.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip
from pimc.runtime.die.die import Die, Stuck
from pimc.runtime.die.region import Region
from pimc.runtime.die.site import (
    Floats,
    Ints,
    Mask,
    Site,
    site_of,
)
from pimc.runtime.physics import read_noise
from pimc.runtime.physics.disturb import PARTS, disturbed_us, disturbs
from pimc.runtime.physics.ir_drop import Wires

Array32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Bank:
    """What the simulated arrays add up for one region.

    Attributes:
        g_us: (blocks, rows, columns) current in µS a unit of input, the reference column's taken
            off where the chip has one.
        variance: (blocks, rows, columns) variance of one read a unit of squared input, µS²; None
            without read noise.
        reference_variance: (blocks, rows, reads) the same of the reference columns: columns read
            together share one; None without read noise or reference.
        read_of_column: (blocks, columns) which of its block's reads a column belongs to.
        reads: array reads that one input vector takes, of all blocks together.
    """

    g_us: Array32 = field(repr=False)
    variance: Array32 | None = field(repr=False)
    reference_variance: Array32 | None = field(repr=False)
    read_of_column: Ints = field(repr=False)
    reads: int


def periods(chip: Chip) -> tuple[int, ...]:
    """After how many samples (network inputs) a bank expires, each for a reason of its own."""
    found = []
    if chip.read_noise.rtn_share > 0:
        found.append(chip.read_noise.rtn_dwell_samples)
    if disturbs(chip):
        found.append(chip.disturb.every_samples)
    return tuple(found)


def bank_of(
    die: Die,
    region: Region,
    sample: int = 0,
    *,
    noise_seed: int = 0,
    stress: Ints | None = None,
    site: Site | None = None,
) -> Bank:
    """The bank of a region of a die that is attached to its chip.

    Args:
        sample: number of the first sample it is for; see :func:`periods`.
        noise_seed: seed of what changes from sample to sample.
        stress: (arrays, rows) what reads did to the wordlines so far; the die's own if None.
        site: the region's, where it is known already.

    Raises:
        DeviceError: the region has cells that the die has not.
    """
    chip, state = die.attached(), die.cells
    site = site or site_of(die, region)
    g, reference = site.held_us, site.reference_us
    if disturbs(chip) and not die.perfect:
        g, reference = _disturbed(
            die, site, g, reference, state.stress if stress is None else stress
        )
    g = _telegraph(chip, noise_seed, read_noise.CELL, site.cells, site.cell_traps, sample, g)
    reference = _telegraph(
        chip, noise_seed, read_noise.REFERENCE, site.lines, site.reference_traps, sample, reference
    )
    subtract = chip.mapping.pedestal == "reference"
    noisy = not die.perfect and read_noise.is_noisy(chip.read_noise)
    variance = _variance(chip, g, site.age_s, site.conducting) if noisy else None
    beside = None
    if noisy and subtract:
        beside = _variance(chip, reference, np.asarray(die.clock_s), reference > 0)
    g, variance = _through(site.cell_wires, g, variance)
    reference, beside = _through(site.reference_wires, reference, beside)
    return Bank(
        g_us=_single(g - site.of_columns(reference) if subtract else g),
        variance=None if variance is None else _single(variance),
        reference_variance=None if beside is None else _single(beside),
        read_of_column=site.read_of_column,
        reads=int((site.read_of_column.max(axis=1) + 1).sum()),
    )


def _disturbed(
    die: Die, site: Site, g: Floats, reference: Floats, stress: Ints
) -> tuple[Floats, Floats]:
    """What cells and reference cells hold after the reads that their wordlines have seen."""
    chip, state = die.attached(), die.cells
    seen = stress.reshape(-1)[site.lines]
    # Cells written meanwhile, through another device, may be newer than what ``stress`` counts.
    since = np.maximum(site.of_columns(seen) - state.stress_before.reshape(-1)[site.cells], 0)
    free = site.present & (state.stuck.reshape(-1)[site.cells] == Stuck.FREE)
    return (
        np.where(free, disturbed_us(chip, g, since / PARTS), g),
        np.where(reference > 0, disturbed_us(chip, reference, seen / PARTS), reference),
    )


def _telegraph(
    chip: Chip,
    seed: int,
    streams: read_noise.Streams,
    cells: Ints,
    traps: Mask | None,
    sample: int,
    g: Floats,
) -> Floats:
    if traps is None:
        return g
    changed = g.copy()
    changed[traps] *= read_noise.telegraph(chip.read_noise, seed, streams, cells[traps], sample)
    return changed


def _through(
    wires: Wires | None, g: Floats, variance: Floats | None
) -> tuple[Floats, Floats | None]:
    """Current and noise behind the wires, a unit of input."""
    if wires is None:
        return g, variance
    damped = None if variance is None else variance * wires.share**2
    return wires.effective_us(g), damped


def _variance(chip: Chip, g: Floats, age_s: Floats, present: Mask) -> Floats:
    return np.where(present, read_noise.variance_us2(chip.read_noise, g, age_s), 0.0)


def _single(values: Floats) -> Array32:
    return np.ascontiguousarray(values, dtype=np.float32)
