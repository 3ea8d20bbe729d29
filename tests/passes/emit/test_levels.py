"""Packed levels are those of every tile at its place, and nothing elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from pimc import api
from pimc.chip.codebook import codebook
from pimc.chip.design import Chip
from pimc.chip.fault_map import Fault, FaultMap
from pimc.files.packing import bits_per_cell, unpack_levels
from pimc.passes.emit import levels
from pimc.passes.emit.levels import array_bytes, packed_levels
from pimc.passes.layout.map_cells import tile_levels

SMALL = Chip.default().with_array(16, 8)


@pytest.mark.parametrize("together", [1, 2, 100])
@pytest.mark.parametrize("kind", ["offset", "differential", "sliced"])
@pytest.mark.parametrize("moved", [False, True])
def test_every_tile_is_where_it_belongs(
    together: int, kind: str, moved: bool, tiny_model, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = SMALL.with_mapping(kind)
    faults = FaultMap((Fault(0, 2, 1, "open"), Fault(1, 0, None, "open"))) if moved else None
    plan = api.plan(tiny_model(), chip, faults=faults)
    assert any(plan.lines) == moved
    monkeypatch.setattr(levels, "_ARRAYS", together)
    parts = list(packed_levels(plan, chip))
    assert [len(part) for part in parts[:-1]] == [together] * (len(parts) - 1)
    packed = np.concatenate(parts)
    assert packed.shape == (plan.arrays, array_bytes(chip))
    held = unpack_levels(packed, bits_per_cell(chip.cell.levels), 16 * 8).reshape(-1, 16, 8)
    wanted = np.zeros_like(held)
    for tile, place, lines in zip(plan.tiles, plan.places, plan.lines, strict=True):
        rows = place.row + np.arange(tile.rows) if lines is None else lines.wordlines
        cols = place.col + np.arange(tile.cols) if lines is None else lines.bitlines
        wanted[place.array][np.ix_(rows, cols)] = tile_levels(plan, codebook(chip), tile)
    np.testing.assert_array_equal(held, wanted)


@pytest.mark.parametrize(("count", "size"), [(2, 16), (4, 32), (5, 48), (16, 64)])
def test_an_array_takes_whole_bytes(count: int, size: int) -> None:
    assert array_bytes(SMALL.with_levels(count)) == size
    assert array_bytes(SMALL.with_levels(count).with_array(3, 3)) == -(-9 * size // 128)
