"""Samples that a Python function yields."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

import pimc.data.rows
from pimc.data.dataset import load_data
from pimc.errors import DataError
from pimc.runtime.session import NodeArg
from tests.pimc.data.test_inputs import IDS, MASK, two_inputs

SOURCE = """
import numpy as np

def pairs():
    for n in range(40):
        rng = np.random.default_rng(n)
        yield {"ids": rng.integers(0, 50, 7), "mask": rng.random(7) > 0.3}, n % 8

def arrays():
    for n in range(5):
        yield np.full((2, 3), n, np.float32)

def targets():
    for n in range(5):
        yield {"x": np.ones(3)}, {"length": n, "y": n}

class Files:
    @staticmethod
    def all():
        return [{"x": np.ones(3), "y": 1}]

def nothing(): return []
def no_sample(): yield "text"
def fails(): yield {"x": np.ones(3)}; raise KeyError("lost")
def other_shape(): yield {"x": np.ones(3)}; yield {"x": np.ones(4)}
def other_type(): yield {"x": np.ones(3)}; yield {"x": np.ones(3, int)}
def other_names(): yield {"x": np.ones(3)}; yield {"z": np.ones(3)}
def of_text(): yield {"x": np.array(["a"])}
def with_labels():
    for n in range(5): yield {"x": np.ones(3), "y": n}
def talks(): print("reading the corpus"); yield {"x": np.ones(3)}
def leaves(): yield {"x": np.ones(3)}; raise SystemExit(0)
def ragged(): yield {"x": [[1, 2], [3]]}
def of_nan(): yield {"x": np.ones(2)}; yield {"x": np.array([1, np.nan])}
"""


@pytest.fixture
def samples(here: Path) -> Iterator[str]:
    """A module of the current folder, by its name."""
    (here / "my_samples.py").write_text(SOURCE)
    before = list(sys.path)
    yield "my_samples"
    sys.modules.pop("my_samples", None)
    assert sys.path == before


def test_samples_and_labels(samples: str) -> None:
    data = load_data(f"{samples}:pairs", inputs=[IDS, MASK])
    assert len(data) == 40
    assert data.labels is not None
    assert data.labels[:10].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]
    feed = data.feed(3, 5)
    assert feed["ids"][0].tolist() == np.random.default_rng(3).integers(0, 50, 7).tolist()
    assert feed["mask"].dtype == np.bool_


def test_an_array_alone_is_the_only_input(samples: str) -> None:
    arg = NodeArg("in", ["N", 2, 3], "tensor(float)")
    data = load_data(f"{samples}:arrays", inputs=[arg], overrides={"scale": 2.0})
    assert data.feed(0, 5)["in"][:, 0, 0].tolist() == [0, 0.5, 1, 1.5, 2]
    assert load_data(f"{samples}:arrays").batch(4, 5).max() == 4


def test_targets_by_name(samples: str) -> None:
    data = load_data(f"{samples}:targets")
    assert data.targets["length"][:].tolist() == [0, 1, 2, 3, 4]
    assert data.y is not None
    assert load_data(f"{samples}:Files.all").y is not None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "yields no samples"),
        ("no_sample", "sample 0: is str, no mapping"),
        ("fails", "the function failed: KeyError: 'lost'"),
        ("other_shape", "sample 1: x is float64 of shape (4,), in the first sample float64 of sh"),
        ("other_type", "sample 1: x is int64 of shape (3,)"),
        ("other_names", "sample 1: has z, the first one has x"),
        ("of_text", "sample 0: x holds <U1, not real numbers"),
        ("of_nan", "first in sample 1"),
        ("lost", "cannot be loaded: module 'my_samples' has no attribute 'lost'"),
    ],
)
def test_what_is_wrong_is_named(samples: str, name: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        load_data(f"{samples}:{name}")
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{samples}:{name}")


def test_a_module_that_there_is_not() -> None:
    with pytest.raises(DataError, match=r"no_such_module:f: cannot be loaded: No module named"):
        load_data("no_such_module:f")


def test_an_input_that_is_not_yielded(samples: str) -> None:
    with pytest.raises(DataError, match="yields no ids, mask"):
        load_data(f"{samples}:targets", inputs=[IDS, MASK])


def test_what_is_large_lies_in_a_file_while_it_is_used(
    samples: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pimc.data.rows, "HELD_BYTES", 100)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    data = load_data(f"{samples}:arrays")
    assert len(list(tmp_path.glob("pimc-data-*"))) == 1
    assert data.subset([4, 0]).batch(0, 2)[:, 0, 0].tolist() == [4, 0]
    del data
    assert not list(tmp_path.glob("pimc-data-*"))


def test_commands_take_a_function(pimc, samples: str) -> None:
    onnx.save(two_inputs(), "two.onnx")
    data = f"{samples}:pairs"
    done = pimc("compile", "two.onnx", "--calib", data)
    assert done.code == 0, done.err
    done = pimc("eval", "two.pimc", "--data", data, "--dies", 1, "--json")
    assert done.code == 0, done.err
    assert done.json["samples"] == 40
    assert pimc("verify", "two.pimc", "--data", data).code == 0


def test_the_only_input_may_be_called_x_beside_targets(samples: str) -> None:
    data = load_data(f"{samples}:with_labels", inputs=[NodeArg("input", ["N", 3], "tensor(float)")])
    assert list(data.columns) == ["input"]
    assert data.y is not None
    assert data.y.tolist() == [0, 1, 2, 3, 4]


def test_what_a_function_prints_is_no_answer(samples: str, capsys) -> None:
    load_data(f"{samples}:talks")
    assert capsys.readouterr() == ("", "reading the corpus\n")


@pytest.mark.parametrize(
    ("function", "said"),
    [("leaves", "the function failed: SystemExit: 0"), ("ragged", "sample 0: x is no array: ")],
)
def test_a_function_that_ends_the_program_or_yields_no_arrays(samples, function, said) -> None:
    with pytest.raises(DataError, match=said):
        load_data(f"{samples}:{function}")
