"""``pimc chips``."""

from __future__ import annotations

from pathlib import Path

import pytest

from pimc.chip.design import Chip


def test_chips_shows_what_each_level_costs(pimc, here: Path) -> None:
    Path("own.toml").write_text(
        'schema = 1\nname = "own"\n[array]\n[cell]\nlevels = 4\ng_min_us = 2.0\ng_max_us = 40.0\n'
        '[cell.sigma]\nkind = "write_verify"\ntolerance_us = 1.0\nmax_pulses = 20\n'
        "pulse_coefficients_us = [1.0, 0.1]\nrelaxation_coefficients_us = [0.5]\n"
    )
    found = pimc("chips", "own.toml", "--json").json["writing"]
    assert [entry["target_us"] for entry in found] == pytest.approx([2, 14.666667, 27.333333, 40])
    assert [entry["level"] for entry in found] == [0, 1, 2, 3]
    # σ_p = 1.2 µS at 2 µS: p = erf(1/(1.2 √2)).
    assert found[0]["pulses"] == pytest.approx(1 / 0.5953432, rel=1e-5)
    assert all(0 < entry["success"] <= 1 for entry in found)
    shown = pimc("chips", "own.toml").out
    assert "accepted" in shown
    assert len(shown.splitlines()) > 40
    assert "writing" not in pimc("chips", "ihp", "--json").json


def test_chips(pimc, tmp_path) -> None:
    listed = pimc("chips")
    assert all(name in listed.out for name in Chip.shipped())
    names = [entry["name"] for entry in pimc("chips", "--json").json["chips"]]
    assert names == list(Chip.shipped())
    for name in names:
        assert Chip.load(name).source in pimc("chips", name).out
    path = tmp_path / "own.toml"
    path.write_text(pimc("chips", "ihp", "--toml").out)
    assert Chip.load(path) == Chip.load("ihp")
    assert pimc("chips", path, "--json").json == Chip.load("ihp").to_dict()
