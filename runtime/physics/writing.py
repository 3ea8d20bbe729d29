"""Writing: what cells hold right after it, and which of them took it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pimc.chip.cell.programming_error import Constant
from pimc.chip.cell.write_verify import WriteVerify
from pimc.chip.design import Chip
from pimc.runtime.physics.streams import Stream, normals, own_seed
from pimc.runtime.physics.variation import cell_factor, reference_factor

Array64 = npt.NDArray[np.float64]


def written_us(
    chip: Chip,
    seed: int,
    cells: npt.NDArray[np.int64],
    target_us: Array64,
    writes: npt.NDArray[np.uint32],
) -> tuple[Array64, npt.NDArray[np.bool_]]:
    """Conductances of sound cells after a write in µS, and which were accepted.

    Only a chip whose write-verify is simulated gives cells up; on any other all are accepted.

    Args:
        chip: the design, with its programming error and variation.
        seed: of the die.
        cells: addresses.
        target_us: what each is asked to hold.
        writes: how often each was written before.
    """
    model = chip.cell.sigma.model
    draws = normals(model.draws, seed, Stream.PROGRAMMING, cells, writes)
    landed = model.sample(target_us, draws) * cell_factor(chip, seed, cells)
    landed = _with_own(chip, seed, Stream.OWN, cells, target_us, landed, writes)
    accepted = np.ones(target_us.shape, np.bool_)
    if isinstance(model, WriteVerify):
        accepted = model.accepted(target_us, draws)
    return np.maximum(landed, 0.0), accepted


def verified(
    chip: Chip, held_us: npt.NDArray[np.floating], target_us: Array64
) -> npt.NDArray[np.bool_]:
    """Whether cells that no pulse moves pass: by chance where they are verified, else all."""
    model = chip.cell.sigma.model
    if not isinstance(model, WriteVerify):
        return np.ones(target_us.shape, np.bool_)
    return np.abs(held_us - target_us) <= model.tolerance_us


def reference_us(chip: Chip, seed: int, lines: npt.NDArray[np.int64]) -> Array64:
    """Conductances of the reference columns' cells in µS, by number of their wordline.

    They are written once, to the level in the middle; with an error of their own it is normal.
    """
    levels_us = np.asarray(chip.cell.g_levels_us)
    target = np.full(lines.shape, levels_us[len(levels_us) // 2])
    own_us = chip.mapping.reference_sigma_us
    model = chip.cell.sigma.model if own_us is None else Constant(own_us)
    draws = normals(model.draws, seed, Stream.REFERENCE, lines)
    landed = model.sample(target, draws) * reference_factor(chip, seed, lines)
    return np.maximum(_with_own(chip, seed, Stream.OWN_REFERENCE, lines, target, landed), 0.0)


def _with_own(
    chip: Chip,
    seed: int,
    stream: Stream,
    cells: npt.NDArray[np.int64],
    target_us: Array64,
    held_us: Array64,
    writes: npt.NDArray[np.uint32] | int = 0,
) -> Array64:
    """What cells hold with the terms of a laboratory's own."""
    for term in chip.physics.of_cells:
        draws = normals(term.draws, own_seed(seed, term.name), stream, cells, writes)
        held_us = term.sample(held_us, target_us, draws)
    return held_us
