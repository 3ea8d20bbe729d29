"""What a read adds to a cell: white noise, and telegraph noise of traps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip, ReadNoise
from pimc.chip.plugins.protocols import ReadTerm
from pimc.runtime.physics import philox
from pimc.runtime.physics.streams import Stream

Array64 = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]


class Streams(NamedTuple):
    """Random streams of one kind of cell: which have a trap, and the state it is in."""

    trap: Stream
    state: Stream


CELL = Streams(Stream.TRAP, Stream.TRAP_STATE)
REFERENCE = Streams(Stream.REFERENCE_TRAP, Stream.REFERENCE_TRAP_STATE)


def variance_us2(
    noise: ReadNoise,
    g_us: npt.NDArray[np.floating],
    age_s: npt.NDArray[np.floating] | float = 0.0,
) -> Array64:
    """Variance in µS² of one read of cells that hold ``g_us`` (µS, any shape).

    Three independent parts: proportional to G, constant, and growing with log10 G as published
    for CMO/HfOx cells (arXiv 2502.04524), σ = 0.0277·log10(G)·√ln((t + t_r)/(2·t_r)); its
    logarithm counts as 0 below 1 µS. t is the time since the write, ``log_time_s`` at least.

    Args:
        age_s: seconds since the cells were written; broadcasts against ``g_us``.
    """
    variance = np.square(noise.relative * np.asarray(g_us, np.float64))
    variance += noise.sigma_us**2
    if noise.log_us > 0.0:
        elapsed = np.maximum(np.asarray(age_s, np.float64), noise.log_time_s)
        growth = np.log((elapsed + noise.log_t_r_s) / (2 * noise.log_t_r_s))
        variance = variance + np.square(noise.log_us * np.log10(np.maximum(g_us, 1.0))) * growth
    return variance


def is_noisy(noise: ReadNoise) -> bool:
    """Whether reads have white noise."""
    return max(noise.relative, noise.sigma_us, noise.log_us) > 0.0


@dataclass(frozen=True)
class White:
    """White noise as one of the terms of a read: the conductance fluctuates."""

    noise: ReadNoise
    power: ClassVar[int] = 2

    @staticmethod
    def of(chip: Chip) -> White | None:
        """That of a chip; None where it has none."""
        return White(chip.read_noise) if is_noisy(chip.read_noise) else None

    def variance_us2(self, held_us: Floats, age_s: Floats) -> Floats:
        """See :func:`variance_us2`."""
        return variance_us2(self.noise, held_us, age_s)


#: What reads add that is drawn anew every time, each made from the chip.
_TERMS: tuple[Callable[[Chip], ReadTerm | None], ...] = (White.of,)


def terms_of(chip: Chip) -> dict[int, tuple[ReadTerm, ...]]:
    """All that reads of a chip add anew every time, a laboratory's own terms included.

    Returns:
        The terms by how their variance goes with the voltage, those that go with its square first.
    """
    own = [term for made in _TERMS if (term := made(chip)) is not None]
    found = (*own, *chip.physics.of_reads)
    powers = sorted({term.power for term in found}, reverse=True)
    return {power: tuple(t for t in found if t.power == power) for power in powers}


def trapped(
    noise: ReadNoise, seed: int, streams: Streams, cells: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Which of ``cells`` (addresses, any shape) have a trap, for good; ``seed`` is the die's."""
    return philox.uniform(seed, streams.trap, cells) < noise.rtn_share


def telegraph(
    noise: ReadNoise,
    seed: int,
    streams: Streams,
    cells: npt.NDArray[np.int64],
    sample: int,
) -> Array64:
    """Factor on G of cells with a trap, at one sample.

    A trap is in one of two states, G·(1 − amplitude·duty) and G·(1 + amplitude·(1 − duty)), in
    the upper one with probability ``duty``: the mean is G, the variance amplitude²·duty·(1 − duty)
    of G². All states are redrawn every ``rtn_dwell_samples`` samples.

    Args:
        seed: of the read noise, apart from the die's.
        cells: addresses of cells with a trap, any shape.
        sample: number of the network input, counted from 0.
    """
    dwell = sample // noise.rtn_dwell_samples
    upper = philox.uniform(seed, streams.state, cells, dwell) < noise.rtn_duty
    return 1.0 + noise.rtn_amplitude * (upper.astype(np.float64) - noise.rtn_duty)
