"""Compensation of drift: what it brings back, and that it leaves alone what does not drift."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pimc
from pimc.chip.design import Chip
from pimc.errors import ImageError
from pimc.image.image import Image
from pimc.runtime.compensation import ages_of, compensated, driven_rows, without
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from tests.lab import install

YEAR = 31_557_600.0
#: A power law without spread, on a chip that has no error but that.
COMMON: dict[str, Any] = {
    "physics.time.drift.exponent": 0.06,
    "physics.time.drift.spread": 0.0,
    "cell.sigma.fraction_of_range": 0.0,
    "read_noise.relative": 0.0,
}


def compile_on(chip: Chip, model: Any, x: np.ndarray, **options: Any) -> Image:
    return pimc.compile(model, chip, calib=x, **options)


def outputs(image: Image, age_s: float, x: np.ndarray, seed: int = 900) -> np.ndarray:
    die = Die.simulated(seed)
    session = Session(image, die=die)
    die.age(age_s)
    return session.run(None, {"x": x})[0]


def away(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - wanted) ** 2)) / wanted.std())


@pytest.mark.parametrize("pedestal", ["reference", "digital"])
@pytest.mark.parametrize("mapping", ["offset", "differential", "differential:rows", "sliced"])
def test_a_common_power_law_is_brought_back(
    mapping: str,
    pedestal: str,
    tiny_model: Any,
    tiny_inputs: np.ndarray,
    tiny_chip: Chip,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To within what rounding of the converters leaves, whatever the cells of a weight are."""
    install(tmp_path, monkeypatch)
    kind, _, pair = mapping.partition(":")
    chip = tiny_chip.with_(
        **COMMON,
        **{"mapping.kind": kind, "mapping.pedestal": pedestal, "adc.bits": 12},
        **({"mapping.pair": pair} if pair else {}),
        **({"mapping.slice_ratio": 4} if kind == "sliced" else {}),
    )
    image = compile_on(chip, tiny_model(), tiny_inputs)
    found = compensated(image, {"x": torch.from_numpy(tiny_inputs)}).image
    fresh = outputs(image, 0.0, tiny_inputs)
    for age_s in (60.0, 86_400.0, 10 * YEAR):
        plain = away(outputs(image, age_s, tiny_inputs), fresh)
        left = away(outputs(found, age_s, tiny_inputs), fresh)
        assert left < 0.01, (age_s, plain, left)
        assert left < plain / 5 or plain < 0.02, (age_s, plain, left)
    # Nothing is done to cells that are as they were.
    np.testing.assert_array_equal(outputs(found, 0.0, tiny_inputs), fresh)
