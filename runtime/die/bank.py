"""The bank: what the cells of one region conduct and fluctuate by, when it is read.

Whatever is linear and holds still for a while is part of the bank, so that it costs nothing at
a read: what cells hold, read disturb, the state of traps, the resistance of wires.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip
from pimc.chip.plugins.protocols import ReadTerm
from pimc.runtime.die.die import Die, Stuck
from pimc.runtime.die.region import Region
from pimc.runtime.die.site import (
    DrivenArray,
    Floats,
    Ints,
    Mask,
    Site,
    site_of,
)
from pimc.runtime.physics import read_noise
from pimc.runtime.physics.disturb import PARTS, disturbed_us, disturbs
from pimc.runtime.physics.ir_drop import Method, Wires

Array32 = npt.NDArray[np.float32]

#: The power of the voltage that fluctuating conductances go with.
SQUARE = 2
#: Cells that are looked at together where nothing of them is needed again: a hundred bytes each.
_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class NoiseBank:
    """Noise of reads whose variance goes with the voltage in one way.

    Attributes:
        power: to which power of the voltage it goes.
        variance, reference_variance: at full voltage; as of a :class:`Bank`.
    """

    power: int
    variance: Array32 | None = field(repr=False)
    reference_variance: Array32 | None = field(repr=False)


_SILENT = NoiseBank(SQUARE, None, None)


@dataclass(frozen=True)
class Bank:
    """What the simulated arrays add up for one region.

    Attributes:
        g_us: (blocks, rows, columns) current in µS a unit of input, the reference column's taken
            off where the chip has one.
        variance: (blocks, rows, columns) variance of one read a unit of squared input, µS²; None
            where no conductance fluctuates.
        reference_variance: (blocks, rows, reads) the same of the reference columns: columns read
            together share one; None without such noise or reference.
        others: noise that goes with another power of the input than its square.
        read_of_column: (blocks, columns) which of its block's reads a column belongs to.
        lines: (blocks, rows, reads) addresses of the wordlines.
        reads: array reads that one input vector takes, of all blocks together.
        curved: the arrays, where ``g_us`` is not all (:func:`~pimc.runtime.die.site.curves`).
    """

    g_us: Array32 = field(repr=False)
    variance: Array32 | None = field(repr=False)
    reference_variance: Array32 | None = field(repr=False)
    others: tuple[NoiseBank, ...] = field(repr=False)
    read_of_column: Ints = field(repr=False)
    lines: Ints = field(repr=False)
    reads: int
    curved: tuple[DrivenArray, ...] = field(default=(), repr=False)

    @property
    def noises(self) -> tuple[NoiseBank, ...]:
        """All noise by the power of the input it goes with, the square first."""
        squared = NoiseBank(SQUARE, self.variance, self.reference_variance)
        return squared, *self.others


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
    ir_drop: Method = "first",
) -> Bank:
    """The bank of a region of a die that is attached to its chip.

    Args:
        sample: number of the first sample it is for; see :func:`periods`.
        noise_seed: seed of what changes from sample to sample.
        stress: (arrays, rows) what reads did to the wordlines so far; the die's own if None.
        site: the region's, where it is known already; else some blocks are looked at after others.
        ir_drop: how the resistance of wires is worked out, where the site is not known.

    Raises:
        DeviceError: the region has cells that the die has not.
    """
    if site is not None:
        return _bank(die, site, sample, noise_seed, stress)
    return _joined(
        [
            _bank(die, site_of(die, part, ir_drop), sample, noise_seed, stress)
            for part in region.parts(_AT_ONCE)
        ]
    )


def _bank(die: Die, site: Site, sample: int, noise_seed: int, stress: Ints | None) -> Bank:
    chip, state = die.attached(), die.cells
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
    terms = {} if die.perfect else read_noise.terms_of(chip)
    noise = {power: _noise(die, site, power, terms[power], g, reference) for power in terms}
    squared = noise.pop(SQUARE, _SILENT)
    g = g if site.cell_wires is None else site.cell_wires.effective_us(g)
    if site.reference_wires is not None:
        reference = site.reference_wires.effective_us(reference)
    return Bank(
        g_us=_single(g - site.of_columns(reference) if subtract else g),
        variance=squared.variance,
        reference_variance=squared.reference_variance,
        others=tuple(noise.values()),
        read_of_column=site.read_of_column,
        lines=site.lines,
        reads=int((site.read_of_column.max(axis=1) + 1).sum()),
        curved=site.curved,
    )


def _joined(parts: Sequence[Bank]) -> Bank:
    """The bank of the blocks of all parts."""
    if len(parts) == 1:
        return parts[0]
    reads = max(part.lines.shape[2] for part in parts)
    starts = np.cumsum([0, *(len(part.lines) for part in parts)]).tolist()
    noises = zip(*(part.noises for part in parts), strict=True)
    squared, *others = (
        NoiseBank(
            same[0].power,
            _stacked([one.variance for one in same]),
            _stacked([one.reference_variance for one in same], reads),
        )
        for same in noises
    )
    return Bank(
        g_us=np.concatenate([part.g_us for part in parts]),
        variance=squared.variance,
        reference_variance=squared.reference_variance,
        others=tuple(others),
        read_of_column=np.concatenate([part.read_of_column for part in parts]),
        lines=np.concatenate([_wide(part.lines, reads) for part in parts]),
        reads=sum(part.reads for part in parts),
        curved=tuple(
            replace(array, block=array.block + start)
            for part, start in zip(parts, starts, strict=False)
            for array in part.curved
        ),
    )


def _stacked(values: Sequence[Array32 | None], columns: int = 0) -> Array32 | None:
    """Values of some blocks after those of others, at least so many columns wide."""
    there = [_wide(value, columns) for value in values if value is not None]
    return np.concatenate(there) if there else None


def _wide(values: npt.NDArray[Any], columns: int) -> npt.NDArray[Any]:
    """(blocks, rows, columns or more), filled up with zeros."""
    missing = columns - values.shape[2]
    return np.pad(values, ((0, 0), (0, 0), (0, missing))) if missing > 0 else values


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


def _noise(
    die: Die,
    site: Site,
    power: int,
    terms: Iterable[ReadTerm],
    g: Floats,
    reference: Floats,
) -> NoiseBank:
    """What terms add to the reads of cells that hold ``g``, behind the wires."""
    own, beside = _variance(terms, g, site.age_s, site.conducting, site.cell_wires), None
    if die.attached().mapping.pedestal == "reference":
        age_s, sound = np.asarray(die.clock_s), reference > 0
        beside = _variance(terms, reference, age_s, sound, site.reference_wires)
    return NoiseBank(power, own, beside)


def _variance(
    terms: Iterable[ReadTerm], g: Floats, age_s: Floats, there: Mask, wires: Wires | None
) -> Array32:
    each = [term.variance_us2(g, age_s) for term in terms]
    total = np.where(there, np.sum(each, axis=0), 0.0)
    return _single(total if wires is None else total * wires.share**2)


def _single(values: Floats) -> Array32:
    return np.ascontiguousarray(values, dtype=np.float32)
