"""A laboratory's own programming error, found by entry point as if it were installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pimc.chip.design import Chip
from pimc.errors import ChipError
from pimc.runtime.die.die import Die

MODULE = '''
import numpy as np

class Root:
    """σ = a √G."""

    def __init__(self, factor):
        self.factor = factor

    def sigma_us(self, target_us):
        return self.factor * np.sqrt(target_us)

    def sample(self, target_us, normals):
        return target_us + normals[0] * self.sigma_us(target_us)

class Pair(Root):
    """Two draws a write."""

    draws = 2

    def sample(self, target_us, normals):
        return target_us + (normals[0] + normals[1]) * self.sigma_us(target_us) / np.sqrt(2)

class Idle(Root):
    draws = 0

class Negative(Root):
    def sigma_us(self, target_us):
        return -target_us

class Shape(Root):
    def sigma_us(self, target_us):
        return np.zeros(99)

class Nan(Root):
    def sigma_us(self, target_us):
        return target_us * np.nan

class Text(Root):
    def sigma_us(self, target_us):
        return np.full(target_us.shape, "x")

class Fails(Root):
    def sigma_us(self, target_us):
        raise RuntimeError("no calibration")
'''
NAMES = ("Root", "Pair", "Idle", "Negative", "Shape", "Nan", "Text", "Fails", "Missing")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Chip]:
    """Installs the module above in a folder of its own; makes chips that use its classes."""
    (tmp_path / "pimc_test_lab.py").write_text(MODULE, encoding="utf-8")
    info = tmp_path / "pimc_test_lab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pimc-test-lab\nVersion: 1.0\n")
    entries = "\n".join(f"programming.{name.lower()} = pimc_test_lab:{name}" for name in NAMES)
    (info / "entry_points.txt").write_text(f"[pimc.physics]\n{entries}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pimc_test_lab", raising=False)

    def chip(name: str, *parameters: float) -> Chip:
        sigma = {"kind": "plugin", "plugin": name, "parameters": list(parameters)}
        return Chip.default().with_(**{"cell.sigma": sigma})

    return chip


@pytest.mark.parametrize("name", ["root", "pair"])
def test_a_plugin_is_one_kind_among_others(name: str, lab: Callable[..., Chip]) -> None:
    chip = lab(name, 0.2).with_array(100, 100)
    assert chip.cell.sigma.sigma_us([4.0, 25.0]).tolist() == [0.4, 1.0]
    assert Chip.from_dict(chip.to_dict()) == chip
    assert chip.fingerprint != lab(name, 0.3).fingerprint
    die = Die.simulated(1)
    die.attach(chip, 1)
    die.program(np.arange(10_000), np.full(10_000, 15))
    error = die.cells.g_us.reshape(-1) - 40.0
    sigma = 0.2 * 40**0.5
    assert abs(error.mean()) < 4.5 * sigma / 100
    assert abs(error.var() / sigma**2 - 1) < 4.5 * (2 / 10_000) ** 0.5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("idle", "the plugin takes 0 draws, not 1 to 64"),
        ("negative", "programming.negative: the plugin returned a negative standard deviation"),
        ("shape", r"the plugin returned float64 of shape \(99,\), not numbers of shape \(2,\)"),
        ("nan", "the plugin returned a value that is not finite"),
        ("text", "the plugin returned <U1 of shape"),
        ("fails", "programming.fails: the plugin failed: no calibration"),
        ("missing", "programming.missing: the plugin cannot be loaded: .*Missing"),
        (
            "roof",
            r"no such plugin \(did you mean root\?\) \(installed are fails, idle, missing, .*root",
        ),
    ],
)
def test_a_plugin_that_is_wrong_says_so(name: str, message: str, lab: Callable[..., Chip]) -> None:
    with pytest.raises(ChipError, match=message):
        lab(name, 0.2).cell.sigma.sigma_us([4.0, 25.0])


def test_a_plugin_with_other_parameters(lab: Callable[..., Chip]) -> None:
    with pytest.raises(ChipError, match=r"programming\.root: the plugin failed: .*argument"):
        lab("root", 1.0, 2.0).cell.sigma.sigma_us(1.0)


def test_without_any_plugin() -> None:
    chip = Chip.default().with_(**{"cell.sigma": {"kind": "plugin", "plugin": "nobodys"}})
    with pytest.raises(ChipError, match="no such plugin") as caught:
        chip.cell.sigma.sigma_us(1.0)
    assert caught.value.where == "cell.sigma.plugin = nobodys"
    assert caught.value.hint
