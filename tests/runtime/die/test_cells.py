"""The tensors of a die file are as described; a file whose tensors are not is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.errors import DeviceError
from pimc.files import container
from pimc.files.schema import misfits, outside
from pimc.runtime.die.cells import CELL_TENSORS, STEPS, cell_ranges, cell_sizes
from pimc.runtime.die.die import FORMAT, VERSION, Die

RELEASED = Path(__file__).parents[2] / "released"
DIE = RELEASED / "0.1.0" / "tiny.die"


def changed(path: Path, change: Any) -> Path:
    """The released die with other tensors, sealed again."""
    manifest, tensors = container.load(DIE, FORMAT, VERSION, DeviceError)
    container.save(path, *container.seal(FORMAT, VERSION, manifest, change(dict(tensors))))
    return path


@pytest.mark.parametrize("path", [DIE, RELEASED / "before-0.1.0" / "first.die"], ids=str)
def test_released_dies_are_as_described(path: Path) -> None:
    die = Die.load(path)
    chip, contents = die.attached(), vars(die.cells)
    assert list(misfits(CELL_TENSORS, contents, cell_sizes(chip))) == []
    for name, spec in CELL_TENSORS.items():
        assert outside(spec, contents[name], cell_ranges(chip)) is None, name


def test_all_that_a_die_file_holds_is_described() -> None:
    assert container.load(DIE, FORMAT, VERSION, DeviceError)[1].keys() == CELL_TENSORS.keys()


def test_there_is_a_step_from_every_version_before() -> None:
    assert set(STEPS) == set(range(1, VERSION))


@pytest.mark.parametrize("name", CELL_TENSORS)
def test_a_tensor_that_is_missing_or_another_is_refused(name: str, tmp_path: Path) -> None:
    wrong = [
        lambda tensors: {key: value for key, value in tensors.items() if key != name},
        lambda tensors: {**tensors, name: tensors[name].astype(np.float64)},
        lambda tensors: {**tensors, name: tensors[name][:, :, None]},
    ]
    for change in wrong:
        path = changed(tmp_path / "x.die", change)
        with pytest.raises(DeviceError, match=f"x.die: .*tensor {name}"):
            Die.load(path)


def test_cells_of_another_array_than_the_chip_has_are_refused(tmp_path: Path) -> None:
    path = changed(tmp_path / "x.die", lambda t: {**t, "level": t["level"][:, :8]})
    with pytest.raises(DeviceError, match=r"level is int16 .*, expected int16"):
        Die.load(path)


def test_tensors_that_are_not_known_are_ignored(tmp_path: Path) -> None:
    path = changed(tmp_path / "x.die", lambda tensors: {**tensors, "new": np.zeros(3)})
    np.testing.assert_array_equal(Die.load(path).cells.level, Die.load(DIE).cells.level)


def test_a_damaged_file_of_the_first_version_is_refused(tmp_path: Path) -> None:
    manifest, _ = container.load(DIE, FORMAT, VERSION, DeviceError)
    container.save(tmp_path / "x.die", *container.seal(FORMAT, 1, manifest, {}))
    with pytest.raises(DeviceError, match="version 1 is missing or malformed"):
        Die.load(tmp_path / "x.die")
