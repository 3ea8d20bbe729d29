"""``data.toml``: tables for inputs, names of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.data.dataset import load_data
from pimc.data.settings import read_settings
from pimc.errors import DataError
from pimc.runtime.session import NodeArg

INPUTS = [
    NodeArg("a.0", ["N", 2], "tensor(float)"),
    NodeArg("ids", ["N", 3], "tensor(int64)"),
]


def folder(path: Path, text: str) -> Path:
    (path / "data.toml").write_text(text)
    arrays: dict[str, Any] = {"a.0": np.full((4, 2), 8), "ids": np.ones((4, 3), int)}
    np.savez(path / "calib.npz", **arrays)
    return path


def test_each_input_has_a_table(tmp_path: Path) -> None:
    data = load_data(folder(tmp_path, '[inputs."a.0"]\nscale = 2\nmean = 1\n'), inputs=INPUTS)
    feed = data.feed(0, 1)
    assert feed["a.0"].tolist() == [[3.0, 3.0]]
    assert feed["ids"].tolist() == [[1, 1, 1]]


def test_a_table_serves_the_only_input_too(tmp_path: Path) -> None:
    np.savez(folder(tmp_path, "[inputs.ids]\nscale = 2\n") / "calib.npz", x=np.full((4, 3), 8))
    data = load_data(tmp_path, inputs=INPUTS[1:], overrides={"mean": (1.0,)})
    assert data.feed(0, 1)["ids"].tolist() == [[3, 3, 3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scale = 2", "scale: which of the inputs a.0, ids is meant is not said"),
        ("[inputs.idz]", "inputs.idz: the network has no such input (did you mean ids?)"),
        ("[inputs.ids]\nscal = 2", "inputs.ids.scal: unknown key (did you mean scale?)"),
        ("inputs = 3", "inputs: must be tables"),
        ("classes = 3", "classes: must be a list of strings"),
        ("classes = [3]", "classes: must be a list of strings"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        load_data(folder(tmp_path, text), inputs=INPUTS)
    assert message in str(caught.value)
    assert "data.toml" in str(caught.value)


def test_options_that_do_not_say_which_input(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="options: scale: which of the inputs"):
        load_data(folder(tmp_path, ""), inputs=INPUTS, overrides={"scale": 2.0})


def test_classes(tmp_path: Path) -> None:
    (tmp_path / "data.toml").write_text('classes = ["cat", "dog"]')
    np.savez(tmp_path / "calib.npz", x=np.ones((2, 3)), y=[0, 1])
    assert load_data(tmp_path).classes == ("cat", "dog")
    np.savez(tmp_path / "calib.npz", x=np.ones((2, 3)), y=[0, 2])
    with pytest.raises(DataError, match="there are 2 names, and class 2 is met"):
        load_data(tmp_path)


def test_nothing_is_said() -> None:
    settings = read_settings(Path("no.toml"), {"scale": None})
    assert settings.stated == ()
    assert settings.of(["a"])["a"] == settings.common
