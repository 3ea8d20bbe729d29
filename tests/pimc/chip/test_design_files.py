"""Chip files: good ones are read, bad ones are refused in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from pimc.chip.design import (
    Adc,
    Array,
    Chip,
    Dac,
    Mapping,
)
from pimc.errors import ChipError

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


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(ChipError) as caught:
        Chip.load(write(tmp_path, text))
    assert "my.toml: " in str(caught.value)
    return str(caught.value).split("my.toml: ", 1)[1]


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
        ("[cell]", "[adc]\nbits = 1\n[cell]", "adc.bits: must be a whole number, 2 to 16, not 1"),
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
        (
            "[cell]",
            '[adc]\nrange = "tile"\n[cell]',
            "adc.range: must be one of fixed, layer, column",
        ),
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
    with pytest.raises(ChipError, match="is no regular file"):
        Chip.load(tmp_path)


def test_documented_minimal_file_loads(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "chip.md").read_text(encoding="utf-8")
    block = text.split("## A minimal file", 1)[1].split("`schema`, `name`", 1)[0]
    assert Chip.load(write(tmp_path, block)).name == "mine"
    cell = text.split("## Your own device data", 1)[1].split("Each kind of", 1)[0]
    own = "\n".join(line for line in cell.splitlines() if line.startswith("    "))
    chip = Chip.load(write(tmp_path, 'schema = 1\nname = "own"\n[array]\n' + own))
    assert chip.cell.g_levels_us[1] == 13.0


@pytest.mark.parametrize(
    "sigma",
    ["constant_us = 1e200", 'kind = "polynomial"\ncoefficients_us = [0.3, 1e308]'],
)
def test_errors_that_no_cell_can_have(tmp_path: Path, sigma: str) -> None:
    message = refused(tmp_path, MINIMAL.replace("fraction_of_range = 0.05", sigma))
    assert "cell.sigma: is beyond all numbers at some level" in message
