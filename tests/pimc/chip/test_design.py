"""Chips: the shipped ones say what their sources say, and so do changed copies."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pimc.chip.design
from pimc.chip.design import (
    Adc,
    Array,
    Cell,
    Chip,
    Mapping,
    Sigma,
)
from pimc.errors import ChipError
from pimc.files.key_table import key_table

SHIPPED = ("cmo", "generic-128", "ihp", "neurram", "taox")
TABLE = {
    "levels": 5,
    "g_min_us": 1.0,
    "g_max_us": 30.0,
    "spacing": "table",
    "g_levels_us": [1.0, 3.0, 8.0, 17.0, 30.0],
    "sigma": {"kind": "table", "g_us": [1.0, 8.0, 30.0], "table_us": [0.5, 2.5, 1.0]},
}


# --- shipped chips ---------------------------------------------------------------------------


def test_shipped_and_default() -> None:
    assert Chip.shipped() == SHIPPED
    assert Chip.default() == Chip.load("generic-128")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_chip_is_sound(name: str) -> None:
    chip = Chip.load(name)
    assert chip.name == name
    assert chip.description
    assert chip.source
    assert chip.mapping == Mapping("offset", "reference")
    assert np.all(np.diff(chip.cell.g_levels_us) > 0)
    assert np.all(chip.cell.sigma.sigma_us(chip.cell.g_levels_us) > 0)
    assert Chip.load(name).fingerprint == chip.fingerprint
    assert Chip.from_dict(json.loads(json.dumps(chip.to_dict()))) == chip


def neurram_1s(x: float) -> float:
    return 0.348 + 16.030 * x - 43.853 * x**2 + 45.393 * x**3 - 16.815 * x**4


@pytest.mark.parametrize(
    ("name", "g_us", "sigma_us"),
    [
        ("generic-128", 2.0, 1.9),
        ("generic-128", 40.0, 1.9),
        ("neurram", 1.0, neurram_1s(1 / 40)),
        ("neurram", 20.0, neurram_1s(0.5)),
        ("neurram", 40.0, neurram_1s(1.0)),
        ("cmo", 9.0, 0.01129 * 9 + 0.0112),
        ("cmo", 88.0, 0.01129 * 88 + 0.0112),
        ("ihp", 50.0, 4.782 - 0.009107 * 50),
        ("ihp", 225.0, 4.782 - 0.009107 * 225),
        ("taox", 10.0, 0.69),
    ],
)
def test_shipped_sigma_at_points(name: str, g_us: float, sigma_us: float) -> None:
    assert Chip.load(name).cell.sigma.sigma_us(g_us) == pytest.approx(sigma_us, rel=1e-12)


def test_neurram_mean_sigma_is_the_published_one() -> None:
    # The published mean over the range is 1.73 µS.
    chip = Chip.load("neurram")
    g_us = np.linspace(chip.cell.g_min_us, chip.cell.g_max_us, 1001)
    assert chip.cell.sigma.sigma_us(g_us).mean() == pytest.approx(1.73, abs=0.1)


@pytest.mark.parametrize(
    ("name", "rows", "cols", "levels", "g_min_us", "g_max_us", "arrays"),
    [
        ("generic-128", 128, 128, 16, 2, 40, 1024),
        ("neurram", 256, 256, 16, 1, 40, 48),
        ("cmo", 64, 64, 32, 9, 88, 4096),
        ("ihp", 64, 64, 8, 50, 225, 4096),
        ("taox", 128, 16, 16, 0.5, 35, 8192),
    ],
)
def test_shipped_geometry(
    name: str, rows: int, cols: int, levels: int, g_min_us: float, g_max_us: float, arrays: int
) -> None:
    chip = Chip.load(name)
    assert (chip.array.rows, chip.array.cols, chip.cell.levels) == (rows, cols, levels)
    assert (chip.cell.g_levels_us[0], chip.cell.g_levels_us[-1]) == (g_min_us, g_max_us)
    assert chip.cell.range_us == g_max_us - g_min_us
    assert chip.hierarchy.arrays == arrays


def test_import_is_light() -> None:
    code = (
        "import sys, pimc.chip.design; "
        "print([m for m in ('scipy', 'torch', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- sigma -----------------------------------------------------------------------------------


def test_sigma_table_interpolates_and_holds_its_ends() -> None:
    chip = Chip.default().with_(cell=TABLE)
    got = chip.cell.sigma.sigma_us(np.array([[0.0, 1.0], [4.5, 99.0]]))
    assert got == pytest.approx(np.array([[0.5, 0.5], [1.5, 1.0]]))


def test_sigma_is_never_negative() -> None:
    sigma = Sigma("polynomial", coefficients_us=(1.0, -1.0))
    assert sigma.sigma_us([0.5, 3.0]).tolist() == [0.5, 0.0]


def test_constant_sigma_in_us() -> None:
    chip = Chip.default().with_(**{"cell.sigma": {"kind": "constant", "constant_us": 0.7}})
    assert chip.cell.sigma.sigma_us([2.0, 40.0]).tolist() == [0.7, 0.7]


def test_relative_sigma_without_a_cell_is_refused() -> None:
    with pytest.raises(ChipError, match="no cell"):
        Sigma(fraction_of_range=0.1).sigma_us(1.0)


def test_sigma_follows_the_range() -> None:
    chip = Chip.load("neurram")
    wide = dataclasses.replace(chip.cell, g_max_us=80.0)
    assert wide.sigma.sigma_us(40.0) == pytest.approx(neurram_1s(0.5))
    assert chip.cell.sigma.sigma_us(20.0) == pytest.approx(neurram_1s(0.5))


# --- changed copies --------------------------------------------------------------------------


def test_with_changes_only_what_is_named() -> None:
    chip = Chip.default()
    assert chip.with_array(64, 32).array == dataclasses.replace(chip.array, rows=64, cols=32)
    assert chip.with_mapping("differential").mapping.kind == "differential"
    assert chip.with_sigma(0.1).cell.sigma.sigma_us(2.0) == pytest.approx(3.8)
    changed = chip.with_(**{"adc.bits": 12, "read_noise.relative": 0.0})
    assert (changed.adc.bits, changed.read_noise.relative) == (12, 0.0)
    assert changed.with_(**{"adc.bits": 8, "read_noise.relative": 0.01}) == chip
    assert chip == Chip.default()


def test_with_accepts_numpy_numbers() -> None:
    chip = Chip.default().with_array(np.int64(64), np.int64(64))  # type: ignore[arg-type]
    assert chip.fingerprint == Chip.default().with_array(64, 64).fingerprint
    json.dumps(dataclasses.replace(chip, array=Array(rows=np.int16(3))).to_dict())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adc.bitz": 8}, r"generic-128: adc\.bitz: unknown key \(did you mean bits\?\)"),
        ({"adc.bits": 0}, r"generic-128: adc\.bits: must be"),
        ({"adc.bits.x": 0}, r"adc\.bits\.x: unknown key"),
        ({"cell.g_min_us": 50.0}, r"cell\.g_min_us: must be below g_max_us"),
        ({"array.rows": 10**400}, r"array\.rows: must be a whole number"),
        ({"cell.g_min_us": 10**400}, r"cell\.g_min_us: must be a number"),
    ],
)
def test_with_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ChipError, match=message):
        Chip.default().with_(**changes)


def test_with_levels() -> None:
    chip = Chip.default().with_levels(3)
    assert chip.cell.g_levels_us == (2.0, 21.0, 40.0)
    listed = Chip.default().with_(cell=TABLE)
    assert listed.with_levels(3).cell.g_levels_us == (1.0, 8.0, 30.0)
    assert listed.with_levels(5) == listed
    with pytest.raises(ChipError, match=r"4 evenly spaced .* \(possible are 2, 3, 5\)"):
        listed.with_levels(4)
    for levels in (1, 9, -3):
        with pytest.raises(ChipError):
            listed.with_levels(levels)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Array(rows=0),
        lambda: Array(rows=2.5),  # type: ignore[arg-type]
        lambda: Adc(bits=17),
        lambda: Cell(levels=1, g_min_us=1.0, g_max_us=2.0, sigma=Sigma(constant_us=0.0)),
        lambda: Cell(levels=2, g_min_us=3.0, g_max_us=2.0, sigma=Sigma(constant_us=0.0)),
        lambda: Cell(levels=2, g_min_us=1.0, g_max_us=2.0, sigma=0.1),  # type: ignore[arg-type]
        lambda: Sigma("constant"),
        lambda: dataclasses.replace(Chip.default(), name=""),
        lambda: dataclasses.replace(Chip.default(), adc=8),  # type: ignore[arg-type]
    ],
)
def test_chips_made_in_python_are_checked_too(make: Any) -> None:
    with pytest.raises(ChipError):
        make()


# --- round trip ------------------------------------------------------------------------------


number = st.floats(0, 1e6)
rate = st.floats(0, 0.5)
bits = st.integers(2, 16)
sigmas = st.one_of(
    st.fixed_dictionaries({"kind": st.just("constant"), "fraction_of_range": st.floats(0, 1)}),
    st.fixed_dictionaries({"kind": st.just("constant"), "constant_us": number}),
    # Of higher powers of conductances so large, σ would be beyond all numbers.
    *(
        st.fixed_dictionaries(
            {
                "kind": st.just("polynomial"),
                "variable": st.just(variable),
                "coefficients_us": st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=most),
            }
        )
        for variable, most in (("x", 5), ("g_us", 2))
    ),
    st.sets(number, min_size=1, max_size=5).map(
        lambda g: {"kind": "table", "g_us": sorted(g), "table_us": [0.5] * len(g)}
    ),
)
linear_cells = st.fixed_dictionaries(
    {
        "levels": st.integers(2, 300),
        "g_min_us": st.floats(0, 10),
        "g_max_us": st.floats(11, 1e5),
        "sigma": sigmas,
    }
)
table_cells = st.builds(
    lambda levels, sigma: {
        "levels": len(levels),
        "g_min_us": min(levels),
        "g_max_us": max(levels),
        "spacing": "table",
        "g_levels_us": sorted(levels),
        "sigma": sigma,
    },
    st.sets(number, min_size=2, max_size=9),
    sigmas,
)
chips = st.fixed_dictionaries(
    {
        "schema": st.just(1),
        "name": st.text(min_size=1).filter(str.strip),
        "array": st.fixed_dictionaries(
            {"rows": st.integers(1, 4096), "cols": st.integers(1, 4096)},
            optional={"v_read_v": st.floats(0.01, 5), "wire_ohm": rate},
        ),
        "cell": linear_cells | table_cells,
    },
    optional={
        "source": st.text(),
        "read_noise": st.fixed_dictionaries(
            {"relative": rate, "sigma_us": number}, optional={"log_us": number, "rtn_share": rate}
        ),
        "disturb": st.fixed_dictionaries({"tau0_s": number}, optional={"g_sat_us": number}),
        "dac": st.fixed_dictionaries({"bits": bits, "signed": st.booleans()}),
        "adc": st.fixed_dictionaries({"bits": bits, "energy_pj": number}),
        "mapping": st.fixed_dictionaries(
            {"kind": st.sampled_from(["offset", "differential", "sliced"])}
        ),
        "faults": st.fixed_dictionaries({"stuck_gmax_rate": rate, "stuck_gmin_rate": rate}),
    },
)


@given(chips)
@settings(max_examples=60, deadline=None)
def test_round_trip(table: dict[str, Any]) -> None:
    chip = Chip.from_dict(table)
    restored = Chip.from_dict(json.loads(json.dumps(chip.to_dict())))
    assert restored == chip
    assert restored.fingerprint == chip.fingerprint
    assert len(chip.cell.g_levels_us) == chip.cell.levels
    assert chip.cell.g_levels_us[-1] == pytest.approx(chip.cell.g_max_us)
    sigma_us = chip.cell.sigma.sigma_us(chip.cell.g_levels_us)
    assert sigma_us.shape == (chip.cell.levels,)
    assert np.all(sigma_us >= 0)
    for section, values in table.items():
        if isinstance(values, dict):
            for name in values.keys() & chip.to_dict()[section].keys() - {"sigma"}:
                assert chip.to_dict()[section][name] == values[name]


def test_fingerprint_tells_chips_apart() -> None:
    chip = Chip.default()
    nearest = math.nextafter(chip.cell.g_max_us, 99)
    changed = chip.with_(**{"cell.g_max_us": nearest})
    others = [Chip.load(name) for name in SHIPPED]
    assert len({one.fingerprint for one in [*others, changed]}) == len(SHIPPED) + 1


def test_fingerprint_is_the_hash_of_the_canonical_json() -> None:
    # Images name their chip by it: it may change only together with the chip file format.
    import hashlib

    table = Chip.default().to_dict()
    text = json.dumps(table, sort_keys=True, separators=(",", ":"))
    assert Chip.default().fingerprint == hashlib.sha256(text.encode()).hexdigest()


def test_documentation_is_in_step() -> None:
    docs = Path(__file__).parents[3] / "docs" / "chip.md"
    text = docs.read_text(encoding="utf-8")
    assert key_table(Chip) in text
    for name in SHIPPED:
        assert f"`{name}`" in text


def test_public_names() -> None:
    assert set(pimc.chip.design.__all__) >= {
        "Chip",
        "Array",
        "Cell",
        "Sigma",
        "ReadNoise",
        "Dac",
        "Adc",
    }
