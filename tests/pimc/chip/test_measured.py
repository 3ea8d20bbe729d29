"""Measured conductances become a chip file that has their levels and their spread."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.chip.design import Chip
from pimc.chip.measured import MeasuredLevel, Measurement
from pimc.errors import DataError
from tests.pimc.chip.measurements import samples


@pytest.mark.parametrize("label", ["level", "target_us"])
def test_samples(label: str, tmp_path: Path) -> None:
    path, drawn = samples(tmp_path, label)
    found = Measurement.load(path)
    assert found.source == "measured.csv"
    assert [len(level.samples_us) for level in found.levels] == [300] * 4
    (tmp_path / "own.toml").write_text(found.toml("own"))
    chip = Chip.load(tmp_path / "own.toml")
    assert (chip.name, chip.source, chip.cell.levels) == ("own", "measured.csv", 4)
    assert "1,200 samples" in chip.description
    assert chip.cell.g_levels_us == pytest.approx(drawn.mean(axis=1), rel=1e-5)
    spread = chip.cell.sigma.sigma_us(chip.cell.g_levels_us)
    assert spread == pytest.approx(drawn.std(axis=1, ddof=1), rel=1e-5)


def test_means_and_deviations(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\ufefflevel, mean_us, sigma_us\n\n1,11,1.1\n0,2.5,0.4\n2,24,0\n")
    chip_text = Measurement.load(path).toml("t")
    (tmp_path / "t.toml").write_text(chip_text)
    chip = Chip.load(tmp_path / "t.toml")
    assert chip.cell.g_levels_us == (2.5, 11.0, 24.0)
    assert chip.cell.sigma.sigma_us([2.5, 11.0, 24.0]).tolist() == [0.4, 1.1, 0.0]


@settings(max_examples=50)
@given(
    st.lists(st.integers(0, 10**6), min_size=2, max_size=20, unique=True),
    st.data(),
    st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip),
)
def test_whatever_was_measured_comes_back(means: list[int], data: st.DataObject, name: str) -> None:
    means.sort()
    sigmas = data.draw(st.lists(st.floats(0, 1e4), min_size=len(means), max_size=len(means)))
    pairs = zip(means, sigmas, strict=True)
    levels = tuple(MeasuredLevel("", mean, sigma, np.zeros(0)) for mean, sigma in pairs)
    chip = Chip.from_dict(tomllib.loads(Measurement(levels, "x.csv").toml(name)))
    assert chip.name == name
    assert chip.cell.g_levels_us == pytest.approx(means, rel=1e-5)
    assert chip.cell.sigma.sigma_us(means) == pytest.approx(sigmas, rel=1e-5, abs=1e-300)


BAD = {
    "": "the first line is empty",
    "level,g_us\n": "holds fewer than two levels",
    "level;g_us\n0;1\n": "the first line is level;g_us",
    "g_us,level\n1,0\n": "the first line is g_us,level",
    "level,g_us,note\n0,1,x\n": "the first line is level,g_us,note",
    "level,g_us\n0,1\n0,2\n1,x\n": r"bad\.csv:4: not level,g_us: 1,x",
    "level,g_us\n0,1\n0\n": r"bad\.csv:3: not level,g_us: 0 ",
    "level,g_us\n0,1,2\n": r"bad\.csv:2: not level,g_us: 0,1,2",
    "level,g_us\n0,-1\n": r"bad\.csv:2: .*0 or more",
    "level,g_us\n0,nan\n": r"bad\.csv:2: not level",
    "level,g_us\n0,inf\n": r"bad\.csv:2: not level",
    "level,g_us\n0.5,1\n0.5,1\n1,2\n1,3\n": "level 0.5 is no whole number",
    "level,g_us\n0,1\n0,2\n2,5\n2,6\n": "level 1 is missing",
    "level,g_us\n0,1\n1,5\n1,6\n": "level 0 has one sample",
    "level,g_us\n0,5\n0,6\n1,1\n1,2\n": "the mean of level 1, 1.5 µS, is not above that of level 0",
    "level,mean_us,sigma_us\n0,1,1\n0,2,1\n1,3,1\n": "level 0 is given 2 times",
    "target_us,mean_us,sigma_us\n4,3,1\n9,3,1\n": "mean of target 9 µS, 3 µS, is not above",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_files(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=BAD[text]) as caught:
        Measurement.load(path)
    assert str(path) in (caught.value.where or "")
    assert caught.value.hint or "whole number" in caught.value.message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read: No such file"):
        Measurement.load(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"level,g_us\n\xff\xfe\n")
    with pytest.raises(DataError, match="cannot be read: it is no CSV text"):
        Measurement.load(tmp_path / "b.csv")
