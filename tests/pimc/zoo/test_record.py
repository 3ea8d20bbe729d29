"""Records of the zoo."""

from __future__ import annotations

from pathlib import Path

import pytest

from pimc.chip.design import Chip
from pimc.errors import UsageError
from pimc.tasks.find import task_named
from pimc.zoo.record import Measured, Wheel, names, network, networks, read, update

KNOWN = list(networks())
RECORD = """\
title = "a network"
inputs = "numbers"
task = "classification"
chip = "generic-128"
maker = "fashion:resnet8"
licence = "MIT"
weights_from = "nobody"
data_from = "nowhere"  # a comment stays
calib = 4
samples = 5
"""


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(RECORD)
    return path


def measured(**changes: object) -> Measured:
    values = {
        "pimc": "0.1.0", "calib": 4, "samples": 5, "in_float": 1.0, "perfect": 0.987654321,
        "weights": 12, "cells_a_weight": 2.0, "arrays": 1, "energy_pj": 2.5e7, "dies": (3, 4),
        "programmed": (0.25, 0.5), "recovered": (0.75, 1.0),
    }  # fmt: skip
    return Measured(**{**values, **changes})  # type: ignore[arg-type]


def test_the_zoo_is_as_large_as_it_says() -> None:
    assert len(KNOWN) >= 9
    assert len({task_named(one.task).name for one in KNOWN}) >= 6
    published = [one for one in KNOWN if one.measured and one.wheels and "trained" not in
                 one.weights_from]  # fmt: skip
    assert len(published) >= 4


@pytest.mark.parametrize("one", KNOWN, ids=names())
def test_what_a_record_names_exists(one) -> None:
    from importlib import import_module

    assert one.chip in Chip.shipped()
    assert task_named(one.task).metric.name
    module, _, function = one.maker.partition(":")
    assert callable(getattr(import_module(f"pimc.zoo.makers.{module}"), function))
    for wheel in one.files:
        assert wheel == Wheel.of(wheel.requirement)


@pytest.mark.parametrize("one", KNOWN, ids=names())
def test_figures_are_of_the_samples_that_the_record_names(one) -> None:
    found = one.measured
    if found is None:
        pytest.skip("not measured")
    metric = task_named(one.task).metric
    assert found.calib <= one.calib
    assert found.samples <= one.samples
    assert len(found.dies) in (0, one.dies)
    for value in (found.in_float, found.perfect, *found.programmed, *found.recovered):
        assert metric.low <= value <= metric.high


def test_a_name_that_is_not_known_gets_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="did you mean fashion-resnet8"):
        network("fashion-resnet")


def test_all_problems_of_a_file_are_told(record: Path) -> None:
    record.write_text(RECORD.replace("calib = 4", "calib = 0\ntitel = 1"))
    with pytest.raises(UsageError, match=r"titel: unknown key.*calib: must be a whole number"):
        read(record)
    record.write_text(RECORD + 'wheels = ["numpy"]\n')
    with pytest.raises(UsageError, match="hash=sha256"):
        read(record)
    record.write_text("title = ")
    with pytest.raises(UsageError, match="not valid TOML"):
        read(record)


def test_update_writes_what_was_measured_and_leaves_the_rest(record: Path) -> None:
    update("own", measured(), record)
    first = record.read_text()
    assert first.startswith(RECORD.rstrip("\n"))
    found = read(record).measured
    assert found is not None
    assert found.perfect == 0.987654
    assert found == measured(perfect=0.987654)
    assert found.mean_of("programmed") == 0.375
    update("own", measured(dies=(), programmed=(), recovered=(), energy_pj=None), record)
    assert "dies" not in record.read_text()
    assert read(record).measured.mean_of("recovered") is None  # type: ignore[union-attr]
    update("own", measured(), record)
    assert record.read_text() == first


def test_a_die_without_a_figure_is_refused(record: Path) -> None:
    update("own", measured(), record)
    record.write_text(record.read_text().replace("dies = [3, 4]", "dies = [3]"))
    with pytest.raises(UsageError, match="each die has one figure"):
        read(record)


def test_update_does_not_touch_a_file_that_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text("a = 1\n")
    with pytest.raises(UsageError, match="unknown key"):
        update("other", measured(), path)
    assert path.read_text() == "a = 1\n"
