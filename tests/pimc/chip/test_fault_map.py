"""Fault maps: read as written, malformed lines named."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pimc.chip.design import Chip
from pimc.chip.fault_map import Fault, FaultMap
from pimc.errors import DataError

CHIP = Chip.default().with_array(4, 6)
HEADER = "array,row,col,fault\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "die.csv"
    path.write_bytes(text.encode())
    return path


def test_load(tmp_path: Path) -> None:
    text = HEADER + "0,1,2,stuck_gmin\n\n 1, *,3 ,open\r\n1,0,*,stuck_gmax\n"
    loaded = FaultMap.load(write(tmp_path, text))
    assert loaded.faults == (
        Fault(0, 1, 2, "stuck_gmin"),
        Fault(1, None, 3, "open"),
        Fault(1, 0, None, "stuck_gmax"),
    )


def test_held() -> None:
    entries = (Fault(0, 1, 2, "stuck_gmin"), Fault(1, None, 3, "open"))
    whole_line = Fault(1, 0, None, "stuck_gmax")
    held = FaultMap((*entries, whole_line, Fault(9, 0, 0, "open"))).held_us(CHIP, 2)
    expected = np.full((2, 4, 6), np.nan)
    expected[0, 1, 2] = CHIP.cell.g_min_us
    expected[1, :, 3] = 0.0
    expected[1, 0, :] = CHIP.cell.g_max_us
    assert np.array_equal(held, expected, equal_nan=True)


@pytest.mark.parametrize("fault", [Fault(0, 4, 0, "open"), Fault(0, None, 6, "open")])
def test_outside_the_array(fault: Fault) -> None:
    with pytest.raises(DataError, match="outside an array of 4×6"):
        FaultMap((fault,)).held_us(CHIP, 1)


@pytest.mark.parametrize(
    "line",
    ["0,1,2", "0,1,2,open,5", "x,1,2,open", "*,1,2,open", "0,-1,2,open", "0,1,1.5,open",
     "-1,0,0,open", "0,1,2,dead", "0,1,2,", ",,,"],
)  # fmt: skip
def test_malformed_lines_are_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, HEADER + "0,0,0,open\n" + line + "\n")
    with pytest.raises(DataError, match="not a fault") as caught:
        FaultMap.load(path)
    assert caught.value.where == f"{path}:3"
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "a,b\n", "array;row;col;fault\n", "0,1,2,open\n"])
def test_wrong_header(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="array,row,col,fault"):
        FaultMap.load(write(tmp_path, text))


def test_unreadable(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path, tmp_path / "none.csv", tmp_path / "pipe.csv"):
        with pytest.raises(DataError, match="cannot be read"):
            FaultMap.load(path)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(HEADER.encode() + b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        FaultMap.load(binary)
    with pytest.raises(DataError, match="cannot be read"):
        FaultMap.load(write(tmp_path, HEADER + "x" * 200_000))


def test_several_maps_of_a_die_are_one_and_the_later_knows_better() -> None:
    chip = Chip.default()
    first = FaultMap((Fault(0, 1, 2, "open"), Fault(0, 3, 4, "open")), "a.csv")
    later = FaultMap((Fault(0, 3, 4, "open"), Fault(0, 1, 2, "stuck_gmax")), "b.csv")
    both = FaultMap.joined([first, later])
    assert len(both.faults) == 3
    assert both.source == "a.csv, b.csv"
    assert both.held_us(chip, 1)[0, 1, 2] == chip.cell.g_max_us
    assert FaultMap.joined([first]) == first
