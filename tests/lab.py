"""A laboratory's own physics, found by entry point as if it were installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

MODULE = '''
from dataclasses import dataclass, field

import numpy as np

from pimc.files.strict import Rule, key, setting


@dataclass(frozen=True)
class Shot:
    """Shot noise: its variance goes with the current.

    And more that is not shown.
    """

    factor_us: float = setting(0.5, "float", "variance over conductance, µS", low=0, high=100)
    power = 1

    def variance_us2(self, held_us, age_s):
        return self.factor_us * held_us


@dataclass(frozen=True)
class Thermal:
    """Thermal noise."""

    sigma_us: float = field(metadata=key("float", "σ of a cell, µS", low=0))
    power = 0

    def variance_us2(self, held_us, age_s):
        return np.full(held_us.shape, self.sigma_us**2)


@dataclass(frozen=True)
class Flicker:
    """Noise that grows with age."""

    relative: float = setting(0.05, "float", "σ over G", low=0)

    def variance_us2(self, held_us, age_s):
        return (self.relative * held_us) ** 2 * (1 + np.log1p(age_s))


@dataclass(frozen=True)
class Relax:
    """Cells relax toward the middle."""

    share: float = setting(0.2, "float", "of the way", low=0, high=1)
    sigma: float = setting(0.5, "float", "spread, µS", low=0)

    def sigma_us(self, target_us):
        return np.full(target_us.shape, self.sigma)

    def sample(self, held_us, target_us, normals):
        return held_us + self.share * (20.0 - held_us) + self.sigma * normals[0]


@dataclass(frozen=True)
class Drift:
    """Power-law drift."""

    exponent: float = setting(0.05, "float", "mean exponent", low=0)
    spread: float = setting(0.01, "float", "its σ from cell to cell", low=0)

    def aged_us(self, held_us, target_us, age_s, normals):
        return held_us * (1 + age_s) ** -(self.exponent + self.spread * normals[0])


@dataclass(frozen=True)
class Inl:
    """Integral non-linearity of the ADCs, and noise of their comparators."""

    bow: float = setting(0.0, "float", "largest deviation, codes", low=0)
    noise: float = setting(0.0, "float", "σ of a conversion, codes", low=0)
    fixed = 1
    draws = 1

    def adc(self, values, fixed, normals):
        return values + self.bow * fixed[0] * np.cos(values / 40.0) + self.noise * normals[0]


@dataclass(frozen=True)
class Drivers:
    """Gain of every wordline's driver, and noise of what it drives."""

    gain: float = setting(0.0, "float", "σ of the gain", low=0)
    noise: float = setting(0.0, "float", "σ of what is driven, over full scale", low=0)
    fixed = 1
    draws = 1

    def dac(self, codes, full_scale, fixed, normals):
        return codes * (1 + self.gain * fixed[0]) + self.noise * full_scale * normals[0]


@dataclass(frozen=True)
class Many:
    """All kinds of keys."""

    RULES = (Rule("low", lambda m: m.low <= m.high, "must not be above high"),)

    low: float = setting(1.0, "float", "one end")
    high: float = setting(2.0, "float", "the other")
    whole: int | None = setting(None, "int", "a whole number")
    list: tuple[float, ...] = setting((), "floats", "numbers")
    word: str = setting("a", "str", "a word", choices=("a", "b"))

    def variance_us2(self, held_us, age_s):
        return np.zeros(held_us.shape)


# --- wrong ones ---------------------------------------------------------------------------------


class Plain:
    """No dataclass."""


@dataclass(frozen=True)
class Vague:
    """A field that nobody describes."""

    size: float = 1.0


@dataclass(frozen=True)
class Idle:
    """Without its method."""


@dataclass(frozen=True)
class Broken:
    """Cannot be made."""

    def __post_init__(self):
        raise RuntimeError("no calibration")

    def variance_us2(self, held_us, age_s):
        return held_us


@dataclass(frozen=True)
class Cubic(Shot):
    """A power that there is not."""

    power = 3


@dataclass(frozen=True)
class Returns:
    """Returns what it is told to."""

    what: str = setting("nan", "str", "nan, negative, shape, text or error")

    def variance_us2(self, held_us, age_s):
        return {
            "nan": lambda: held_us * np.nan,
            "negative": lambda: -held_us - 1,
            "shape": lambda: np.zeros(3),
            "text": lambda: np.full(held_us.shape, "x"),
        }[self.what]()

    def adc(self, values, fixed, normals):
        return values[:1, :1, :1]
'''
#: Entry points, beside those of classes that do not exist.
ENTRIES = {
    "read.shot": "Shot",
    "read.thermal": "Thermal",
    "read.flicker": "Flicker",
    "cell.relax": "Relax",
    "time.drift": "Drift",
    "converter.inl": "Inl",
    "converter.drivers": "Drivers",
    "read.many": "Many",
    "read.plain": "Plain",
    "read.vague": "Vague",
    "read.idle": "Idle",
    "converter.idle": "Idle",
    "read.broken": "Broken",
    "read.cubic": "Cubic",
    "read.returns": "Returns",
    "converter.returns": "Returns",
    "read.missing": "Missing",
}


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs the module above in a folder of its own."""
    (folder / "pimc_test_terms.py").write_text(MODULE, encoding="utf-8")
    info = folder / "pimc_test_terms-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pimc-test-terms\nVersion: 1.0\n")
    entries = "\n".join(f"{name} = pimc_test_terms:{made}" for name, made in ENTRIES.items())
    (info / "entry_points.txt").write_text(f"[pimc.physics]\n{entries}\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "pimc_test_terms", raising=False)
