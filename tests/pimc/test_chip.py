"""Chips: the shipped ones say what their sources say, and bad files are refused in full."""

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

import pimc.chip
from pimc.chip import Adc, Array, Cell, Chip, Dac, Mapping, Sigma
from pimc.errors import ChipError
from pimc.strict import key_table

SHIPPED = ("cmo", "generic-128", "ihp", "neurram", "taox")
MINIMAL = """
schema = 1
name = "mine"
[array]
rows = 128
cols = 64
[cell]
levels = 4
g_min_us = 2.0
g_max_us = 40.0
[cell.sigma]
fraction_of_range = 0.05
"""
TABLE = {
    "levels": 5,
    "g_min_us": 1.0,
    "g_max_us": 30.0,
    "spacing": "table",
    "g_levels_us": [1.0, 3.0, 8.0, 17.0, 30.0],
    "sigma": {"kind": "table", "g_us": [1.0, 8.0, 30.0], "table_us": [0.5, 2.5, 1.0]},
}


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(ChipError) as caught:
        Chip.load(write(tmp_path, text))
    assert "my.toml: " in str(caught.value)
    return str(caught.value).split("my.toml: ", 1)[1]


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
        "import sys, pimc.chip; print([m for m in ('scipy', 'torch', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- reading ---------------------------------------------------------------------------------


def test_minimal_file(tmp_path: Path) -> None:
    chip = Chip.load(write(tmp_path, MINIMAL))
    assert chip.array == Array(rows=128, cols=64)
    assert chip.cell.g_levels_us == pytest.approx((2.0, 2 + 38 / 3, 2 + 76 / 3, 40.0))
    assert (chip.dac, chip.adc, chip.mapping) == (Dac(), Adc(), Mapping())


def test_whole_number_for_a_number(tmp_path: Path) -> None:
    same = MINIMAL.replace("2.0", "2").replace("40.0", "40")
    chips = [Chip.load(write(tmp_path, text)) for text in (MINIMAL, same)]
    assert chips[0].fingerprint == chips[1].fingerprint


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("g_min_us = 2.0", "g_mn_us = 2.0", "cell.g_mn_us: unknown key (did you mean g_min_us?)"),
        ("g_min_us = 2.0", "", "cell.g_min_us: missing (a number, 0 to 1000000)"),
        ("g_min_us = 2.0", "g_min_us = 41", "cell.g_min_us: must be below g_max_us"),
        ("g_min_us = 2.0", "g_min_us = -1", "cell.g_min_us: must be a number, 0 to"),
        ("g_min_us = 2.0", "g_min_us = nan", "cell.g_min_us: must be a number"),
        ("g_max_us = 40.0", "g_max_us = 2.0000000000000009", "cell.levels: too many for so small"),
        ("g_max_us = 40.0", "g_max_us = inf", "cell.g_max_us: must be a number"),
        ("levels = 4", "levels = 1", "cell.levels: must be a whole number, 2 to 4096, not 1"),
        ("levels = 4", "levels = 4.0", "cell.levels: must be a whole number"),
        ("levels = 4", "levels = true", "cell.levels: must be a whole number"),
        ("levels = 4", 'levels = "4"', "cell.levels: must be a whole number, 2 to 4096, not '4'"),
        ("rows = 128", "rows = 0", "array.rows: must be a whole number"),
        ("[array]\nrows = 128\ncols = 64", "array = 3", "array: must be a table, not 3"),
        ('name = "mine"', 'name = " "', "name: must not be empty"),
        ('name = "mine"', "", "name: missing (a string)"),
        ("[array]", "[aray]", "aray: unknown key (did you mean array?)"),
        ("fraction_of_range = 0.05", "", "cell.sigma.kind: constant needs exactly one of"),
        ("fraction_of_range = 0.05", "fraction_of_range = 5", "cell.sigma.fraction_of_range: must"),
        (
            "fraction_of_range = 0.05",
            "fraction_of_range = 0.05\nconstant_us = 1",
            "cell.sigma.kind: constant needs exactly one",
        ),
        (
            "fraction_of_range = 0.05",
            "fraction_of_range = 0.05\ng_us = [1.0]",
            "cell.sigma.kind: keys of another kind",
        ),
        (
            "fraction_of_range = 0.05",
            'kind = "polynom"',
            "not 'polynom' (did you mean polynomial?)",
        ),
        (
            "fraction_of_range = 0.05",
            'kind = "polynomial"\ncoefficients_us = []',
            "cell.sigma.coefficients_us: polynomial needs",
        ),
        (
            "fraction_of_range = 0.05",
            'kind = "polynomial"\ncoefficients_us = [1.0, "a"]',
            "cell.sigma.coefficients_us: must be a list of numbers",
        ),
        (
            "fraction_of_range = 0.05",
            'kind = "table"\ng_us = [1.0, 2.0]\ntable_us = [1.0]',
            "cell.sigma.table_us: table needs",
        ),
        (
            "fraction_of_range = 0.05",
            'kind = "table"\ng_us = [2.0, 1.0]\ntable_us = [1.0, 1.0]',
            "cell.sigma.g_us: must be strictly increasing",
        ),
        (
            "levels = 4",
            "levels = 4\ng_levels_us = [2.0, 3.0, 4.0, 40.0]",
            'cell.g_levels_us: is only for spacing = "table"',
        ),
        (
            "levels = 4",
            'levels = 4\nspacing = "table"\ng_levels_us = [2.0, 3.0, 40.0]',
            "cell.g_levels_us: must have one entry a level",
        ),
        (
            "levels = 4",
            'levels = 4\nspacing = "table"\ng_levels_us = [2.0, 4.0, 3.0, 40.0]',
            "cell.g_levels_us: must be strictly increasing",
        ),
        (
            "levels = 4",
            'levels = 4\nspacing = "table"\ng_levels_us = [1.0, 3.0, 4.0, 40.0]',
            "cell.g_levels_us: must begin with g_min_us",
        ),
        (
            "[cell]",
            "[faults]\nstuck_gmax_rate = 0.6\nstuck_gmin_rate = 0.5\n[cell]",
            "must not exceed 1",
        ),
        ("[cell]", "[dac]\nbits = 17\n[cell]", "dac.bits: must be a whole number, 1 to 16, not 17"),
        ("[cell]", "[dac]\nbits = 1\n[cell]", "dac.bits: a signed code needs 2 bits or more"),
        ("[cell]", "[dac]\nsigned = 1\n[cell]", "dac.signed: must be true or false, not 1"),
        ("[cell]", "[adc]\nconvert_ns = 0\n[cell]", "adc.convert_ns: must be a number above 0"),
        ("[cell]", '[adc]\nrange = "tile"\n[cell]', "adc.range: must be one of layer"),
        ("[cell]", '[mapping]\nkind = "ofset"\n[cell]', "(did you mean offset?)"),
        ("schema = 1", "", "schema: missing (write schema = 1)"),
        ("schema = 1", "schema = 2", "schema: 2 is not known (update pimc to read this file)"),
        ("schema = 1", "schema = true", "schema: True is not known (write schema = 1)"),
        ("levels = 4", "levels = " + "9" * 5000, "not valid TOML"),
        ("levels = 4", "levels = " + "[" * 5000, "not valid TOML"),
        ("levels = 4", "levels = ", "not valid TOML: Invalid value (at line 8, column 10)"),
    ],
)
def test_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = MINIMAL.replace(old, new)
    assert text != MINIMAL
    assert message in refused(tmp_path, text)


def test_all_offenders_in_one_message(tmp_path: Path) -> None:
    text = MINIMAL.replace("rows", "row").replace("levels = 4", "levels = 0").replace("40.0", "nan")
    message = refused(tmp_path, text + "[adc]\nbits = 99\n")
    assert message.startswith("4 problems: ")
    for path in ("array.row:", "cell.levels:", "cell.g_max_us:", "adc.bits:"):
        assert path in message


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_bytes(b'schema = 1\nname = "\xff"\n')
    with pytest.raises(ChipError, match=r"my\.toml: not UTF-8 text \(line 2\)"):
        Chip.load(path)


def test_unknown_name_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        ChipError, match=r"generic-182: no such chip \(did you mean generic-128\?\)"
    ):
        Chip.load("generic-182")
    with pytest.raises(ChipError, match=r"rram-128: no such chip.*shipped are cmo, generic-128"):
        Chip.load("rram-128")
    with pytest.raises(ChipError, match=r"none\.toml: cannot be read: No such file"):
        Chip.load(tmp_path / "none.toml")
    with pytest.raises(ChipError, match="cannot be read"):
        Chip.load(tmp_path)


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
    st.fixed_dictionaries(
        {
            "kind": st.just("polynomial"),
            "variable": st.sampled_from(["x", "g_us"]),
            "coefficients_us": st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5),
        }
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
            optional={"v_read_v": st.floats(0.01, 5)},
        ),
        "cell": linear_cells | table_cells,
    },
    optional={
        "source": st.text(),
        "read_noise": st.fixed_dictionaries({"relative": rate, "sigma_us": number}),
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
    docs = Path(__file__).parents[2] / "docs" / "chip.md"
    text = docs.read_text(encoding="utf-8")
    assert key_table(Chip) in text
    for name in SHIPPED:
        assert f"`{name}`" in text


def test_documented_minimal_file_loads(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "chip.md").read_text(encoding="utf-8")
    block = text.split("## A minimal file", 1)[1].split("`schema`, `name`", 1)[0]
    assert Chip.load(write(tmp_path, block)).name == "mine"
    cell = text.split("## Your own device data", 1)[1].split("Each kind of", 1)[0]
    own = "\n".join(line for line in cell.splitlines() if line.startswith("    "))
    chip = Chip.load(write(tmp_path, 'schema = 1\nname = "own"\n[array]\n' + own))
    assert chip.cell.g_levels_us[1] == 13.0


def test_public_names() -> None:
    assert set(pimc.chip.__all__) >= {"Chip", "Array", "Cell", "Sigma", "ReadNoise", "Dac", "Adc"}
