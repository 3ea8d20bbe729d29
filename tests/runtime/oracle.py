"""A slow, independent model of a read: every cell is drawn anew at every read, in float64.

It starts from what a die's cells hold (conductances, reference columns, dead lines) and from where
a region's cells lie, and shares nothing else with the simulator: what follows is written down from
the documentation once more, as plainly as possible. Draws come first in every array.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pimc.runtime.die.die import Cells

Array64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Kind of a cell on a dead wordline or bitline: it carries no current, so no noise either.
DEAD = 3


# --- input drivers -----------------------------------------------------------------------------


class Conversion(NamedTuple):
    """What one conversion of the ADC sees.

    Attributes:
        weight: what its code counts for in the digital sum.
        pulses: (pulses, rows) what drives the wordlines, one after the other, in DAC codes.
        spread: standard deviation of a cell's noise in one pulse over that of a read of full
            length: white noise averages out over time, and a pulse is short.
    """

    weight: int
    pulses: Array64
    spread: float


def parallel(codes: Ints, largest: int) -> list[Conversion]:
    """One voltage a code."""
    return [Conversion(1, codes[None].astype(np.float64), 1.0)]


def bit_serial(codes: Ints, largest: int) -> list[Conversion]:
    """One read and one conversion a bit of the magnitude, with the code's sign."""
    return [
        Conversion(2**bit, (np.sign(codes) * (np.abs(codes) >> bit & 1))[None].astype(float), 1.0)
        for bit in range(largest.bit_length())
    ]


def pulse_count(codes: Ints, largest: int) -> list[Conversion]:
    """As many pulses as the magnitude says, each 1/``largest`` of a full read long."""
    pulses = [np.sign(codes) * (np.abs(codes) > pulse) for pulse in range(largest)]
    return [Conversion(1, np.stack(pulses).astype(float), largest**0.5)]


MODES: dict[str, Callable[[Ints, int], list[Conversion]]] = {
    "parallel": parallel,
    "bit_serial": bit_serial,
    "pulse_count": pulse_count,
}


# --- noise of a cell ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Noise:
    """What a cell does at a read.

    Attributes:
        sigma_us: standard deviation of its white noise for conductances, both in µS.
        trap_amplitude: distance of a trap's two states over G; every cell has a trap, or none.
        trap_duty: share of time in the upper state; the mean of both states is G.
    """

    sigma_us: Callable[[Array64], Array64]
    trap_amplitude: float = 0.0
    trap_duty: float = 0.5

    def held(self, g_us: Array64, images: int, positions: int, rng: np.random.Generator) -> Array64:
        """(draws or 1, rows, columns): conductances, which stay for the length of an image."""
        if not self.trap_amplitude:
            return g_us[None]
        upper = rng.random((images, *g_us.shape)) < self.trap_duty
        state = g_us * (1 + self.trap_amplitude * (upper - self.trap_duty))
        return np.repeat(state, positions, axis=0)


# --- a read ------------------------------------------------------------------------------------


class Reads(NamedTuple):
    """(draws, blocks, columns): currents over the LSB, and the codes that they become."""

    analog: Array64
    codes: Array64


@dataclass(frozen=True)
class Oracle:
    """The cells of a region, and all that a read does with them.

    Attributes:
        state: what the die holds.
        cells: (blocks, rows, columns) addresses, −1 where there is none.
        lsb_us: µS times DAC code of one ADC code, a number or (blocks, columns).
        mode: key of ``MODES``.
        noise: of every cell and reference cell.
        reference: a reference column's current is taken off before the ADC.
        largest: largest DAC code.
        limits: smallest and largest code of one conversion.
        curvature: alpha of I ∝ sinh(alpha · v) / sinh(alpha), v over the full read voltage; 0 for
            linear cells.
    """

    state: Cells = field(repr=False)
    cells: Ints = field(repr=False)
    lsb_us: float | npt.NDArray[np.floating]
    mode: str
    noise: Noise
    reference: bool
    largest: int
    limits: tuple[int, int]
    curvature: float = 0.0

    def read(self, codes: Ints, images: int, positions: int, rng: np.random.Generator) -> Reads:
        """Read DAC codes (blocks, rows) again and again: ``images`` · ``positions`` draws.

        Traps keep their state for the length of an image.
        """
        lsb = np.broadcast_to(self.lsb_us, self.cells.shape[::2])
        parts = [
            self._block(
                cells[cells[:, 0] >= 0], x[cells[:, 0] >= 0], of_block, (images, positions), rng
            )
            for cells, x, of_block in zip(self.cells, codes, lsb, strict=True)
        ]
        return Reads(*(np.stack(values, axis=1) for values in zip(*parts, strict=True)))

    def _block(
        self,
        cells: Ints,
        codes: Ints,
        lsb: Array64,
        count: tuple[int, int],
        rng: np.random.Generator,
    ) -> Reads:
        draws = count[0] * count[1]
        lines = cells // self.state.level.shape[2]
        # Columns in one array, on the same wordlines, are read together.
        reads, which = np.unique(lines, axis=1, return_inverse=True)
        g = self.state.g_us.reshape(-1)[cells].astype(np.float64)
        beside = self.state.reference_us.reshape(-1)[reads].astype(np.float64)
        alive = self.state.stuck.reshape(-1)[cells] != DEAD
        held, held_beside = (self.noise.held(values, *count, rng) for values in (g, beside))
        analog, digital = np.zeros((2, draws, cells.shape[1]))
        for weight, pulses, spread in MODES[self.mode](codes, self.largest):
            current = np.zeros((draws, cells.shape[1]))
            for pulse in self._curved(pulses):
                current += self._current(pulse, held, alive, spread, draws, rng)
                if self.reference:
                    common = self._current(pulse, held_beside, beside > 0, spread, draws, rng)
                    current -= common[:, which.reshape(-1)]
            analog += weight * current / lsb
            digital += weight * np.clip(np.rint(current / lsb), *self.limits)
        return Reads(analog, digital)

    def _curved(self, pulses: Array64) -> Array64:
        """What linear cells would need to carry the currents of these: amplitudes are bent."""
        if not self.curvature:
            return pulses
        full = self.largest if self.mode == "parallel" else 1
        return full * np.sinh(self.curvature * pulses / full) / np.sinh(self.curvature)

    def _current(
        self,
        pulse: Array64,
        held: Array64,
        alive: npt.NDArray[np.bool_],
        spread: float,
        draws: int,
        rng: np.random.Generator,
    ) -> Array64:
        """(draws, columns) currents of one pulse: the sum over cells that are driven."""
        on = pulse != 0
        g = held[:, on]
        drawn = rng.standard_normal((draws, *g.shape[1:]))
        drawn *= np.where(alive[on], spread * self.noise.sigma_us(g), 0.0)
        drawn += g
        return np.einsum("k,dkc->dc", pulse[on], drawn)


# --- behind the ADC ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Mapping:
    """How the cells of a weight are put together.

    Attributes:
        coefficients: of a weight's cells.
        value_us: conductance that a code stands for, given the chip's levels.
        layout: where the cells lie: side by side on ``columns``, one under the other on ``rows``,
            driven with their coefficient times the input, or in different ``arrays``, those of
            all outputs for the first, then for the second.
    """

    coefficients: tuple[float, ...]
    value_us: Callable[[Array64, Ints], Array64]
    layout: str = "columns"

    def driven(self, codes: Ints) -> Ints:
        """What DAC codes (rows,) put on wordlines."""
        if self.layout != "rows":
            return codes
        return np.outer(codes, np.array(self.coefficients, np.int64)).reshape(-1)

    def outputs_us(self, codes: Array64, lsb_us: float | npt.NDArray[np.floating]) -> Array64:
        """(draws, outputs) µS times DAC code, for codes (draws, blocks, columns) of one group."""
        current = (codes * lsb_us).sum(axis=1)
        if self.layout == "rows":
            return current
        count = len(self.coefficients)
        shape = (count, -1) if self.layout == "arrays" else (-1, count)
        axis = 1 if self.layout == "arrays" else 2
        by_cell = np.moveaxis(current.reshape(len(current), *shape), axis, 0)
        return np.tensordot(np.array(self.coefficients), by_cell, axes=1)

    def pedestal_us(self, levels_us: Array64, zero: Ints, reference: bool) -> Array64:
        """What a weight of 0 conducts, less what the reference column takes off."""
        taken = levels_us[len(levels_us) // 2] * sum(self.coefficients) if reference else 0.0
        return self.value_us(levels_us, zero) - taken


def pair_value_us(levels_us: Array64, code: Ints) -> Array64:
    """A code is as far from the middle one as the one cell's level is from the bottom one."""
    difference = code - (len(levels_us) - 1)
    return levels_us[np.maximum(difference, 0)] - levels_us[np.maximum(-difference, 0)]


def sliced_value_us(levels_us: Array64, code: Ints) -> Array64:
    """Two digits to the base of the number of levels, the high one first."""
    high, low = np.divmod(code, len(levels_us))
    return len(levels_us) * levels_us[high] + levels_us[low]


def offset_value_us(levels_us: Array64, code: Ints) -> Array64:
    """The code is the level."""
    return levels_us[code]
