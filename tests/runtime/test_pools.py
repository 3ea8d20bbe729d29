"""Pools come back as they were added, from the disk too."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pimc.runtime import pools as pools_module
from pimc.runtime.pools import Pools


@pytest.mark.parametrize("in_memory", [1 << 20, 1])
def test_what_was_added_is_taken_in_order(monkeypatch: pytest.MonkeyPatch, in_memory: int) -> None:
    monkeypatch.setattr(pools_module, "_MEMORY_BYTES", in_memory)
    rng, pools = np.random.default_rng(0), Pools.empty()
    added: dict[str, list[npt.NDArray[np.integer]]] = {"a": [], "b": []}
    for number, name in enumerate("abaab"):
        drawn = rng.integers(0, 255, (2, 3, 4 + number))
        codes: npt.NDArray[np.integer] = drawn.astype(np.uint8 if name == "a" else np.int16)
        added[name].append(codes)
        pools.add(name, codes)
    assert pools.names == ["a", "b"]
    for name in ("b", "a", "b"):
        whole = np.concatenate(added[name], axis=2)
        assert pools.vectors(name) == whole.shape[2]
        np.testing.assert_array_equal(pools.take(name).numpy(), whole)
