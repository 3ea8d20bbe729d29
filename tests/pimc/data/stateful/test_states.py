"""Data for networks with a state: what they hold, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.data.dataset import Dataset, Preprocess, load_data
from pimc.data.stateful.states import expanded
from pimc.errors import DataError, UsageError
from pimc.runtime.session import NodeArg

X = NodeArg("x", ["N", 3], "tensor(float)")
H = NodeArg("h", ["N", 4], "tensor(float)")
C = NodeArg("c", [2, "N", 4], "tensor(float)")
K = NodeArg("past.0.key", ["N", 2, "past", 4], "tensor(float)")
FEEDS = {"h": "hn"}


def saved(folder: Path, toml: str = "", **arrays: Any) -> Path:
    np.savez(folder / "a.npz", **arrays)
    (folder / "data.toml").write_text(toml)
    return folder / "a.npz"


def test_an_axis_more_than_the_input_is_that_of_steps(tmp_path) -> None:
    x = np.arange(30.0).reshape(2, 5, 3)
    path = saved(tmp_path, 'scale = 2.0\n[states]\nh = "hn"\n', x=x, y=np.ones((2, 5), int))
    data = load_data(path, inputs=[X, H])
    assert data.states is not None
    assert (data.states.feeds, data.states.steps) == (FEEDS, 5)
    np.testing.assert_array_equal(data.feed(0, 2)["x"], x / 2)
    assert data.targets["y"].shape == (2, 5)
    flat = load_data(saved(tmp_path, '[states]\nh = "hn"\n', x=x[:, 0]), inputs=[X, H])
    assert flat.states is not None
    assert flat.states.steps is None


def test_images_of_a_sequence_are_prepared_one_by_one() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5, 3)).astype(np.uint8)
    camera = NodeArg("x", ["N", 3, "H", "W"], "tensor(float)")
    how = Preprocess(scale=255.0, mean=(0.5, 0.25, 0.0), std=(1.0, 2.0, 4.0))
    plain = Dataset.of(
        {"x": frames.transpose(0, 1, 4, 2, 3)}, preprocess={"x": Preprocess(scale=255.0)},
        states=FEEDS,
    ).on([camera, H])  # fmt: skip
    found = plain.feed(0, 2)["x"]
    np.testing.assert_allclose(found, frames.transpose(0, 1, 4, 2, 3) / np.float32(255))
    one = Dataset.of(frames[:, 0], preprocess=Preprocess("NHWC", 255.0, how.mean, how.std))
    assert one.feed(0, 2)["x"].shape == (2, 3, 4, 5)


def test_channels_of_a_sequence(tmp_path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5, 3)).astype(np.uint8)
    camera = NodeArg("x", ["N", 3, "H", "W"], "tensor(float)")
    keys = 'layout = "NHWC"\nscale = 255.0\nmean = [0.5, 0.25, 0.0]\nstd = [1.0, 2.0, 4.0]\n'
    path = saved(tmp_path, f'{keys}[states]\nh = "hn"\n', x=frames)
    found = load_data(path, inputs=[camera, H]).feed(0, 2)["x"]
    alone = Dataset.of(
        frames.reshape(6, 4, 5, 3),
        preprocess=Preprocess("NHWC", 255.0, (0.5, 0.25, 0.0), (1.0, 2.0, 4.0)),
    )
    np.testing.assert_array_equal(found.reshape(6, 3, 4, 5), alone.all())


def test_the_start_of_a_state_lies_beside_the_inputs(tmp_path) -> None:
    c = np.random.default_rng(0).standard_normal((3, 2, 4)).astype(np.float32)
    path = saved(tmp_path, '[states]\nc = "cn"\n', x=np.ones((3, 6, 3)), c=c)
    data = load_data(path, inputs=[X, C])
    np.testing.assert_array_equal(data.feed(0, 3)["c"], c)
    assert "c" not in data.targets


def test_options_come_before_the_file_and_the_file_before_the_image(tmp_path) -> None:
    path = saved(tmp_path, '[states]\nh = "hn"\n', x=np.ones((2, 5, 3)))
    told = load_data(path, inputs=[X, H], overrides={"states": {"h": "other"}}).states
    assert told is not None
    assert told.feeds == {"h": "other"}
    told = load_data(path, inputs=[X, H], states={"h": "image"}).states
    assert told is not None
    assert told.feeds == FEEDS


def test_patterns_of_names() -> None:
    names = ["ids", "past.0.key", "past.1.key", "past.0.value"]
    assert expanded({"past.*": "present.*"}, names) == {
        name: name.replace("past", "present") for name in names[1:]
    }
    assert expanded({"past.*.key": "k*"}, names) == {"past.0.key": "k0", "past.1.key": "k1"}
    assert expanded({"old.*": "new.*"}, names) == {"old.*": "new.*"}
    data = Dataset.of({"ids": np.ones((2, 3))}, states={"past.*": "present.*"})
    held = data.on([NodeArg("ids", ["N", "S"], "tensor(int64)"), K]).states
    assert held is not None
    assert held.feeds == {"past.0.key": "present.0.key"}
    assert held.start("past.0.key", 2).shape == (2, 2, 0, 4)


@pytest.mark.parametrize(
    ("toml", "arrays", "message"),
    [
        ("", {"x": np.ones((2, 5, 3))}, r"if h is a state, name the output .* \[states\]"),
        ('[states]\nk = "hn"\n', {"x": np.ones((2, 3))}, "states: the network has no input k"),
        ("states = 3\n", {"x": np.ones((2, 3))}, "states: must be a table of names of outputs"),
        ("[states]\nh = 3\n", {"x": np.ones((2, 3))}, "states: must be a table of names"),
        ('[states]\nh = "hn"\n', {"x": np.ones((2, 5, 2))}, r"the model takes \(N, 3\), the data"),
        ('[states]\nh = "hn"\n', {"x": np.ones((2, 5, 5, 3))}, r"the model takes \(N, 3\)"),
        (
            '[states]\nh = "hn"\n',
            {"x": np.ones((2, 5, 3)), "h": np.ones((2, 5, 4))},
            r"the model takes \(N, 4\), the data give \(N, 5, 4\)",
        ),
        (
            '[states]\nh = "hn"\n',
            {"x": np.ones((2, 5, 3)), "h": np.ones((3, 4))},
            "h is a state, and its array has not a value a sample",
        ),
        ('[states]\nh = "hn"\nx = "y"\n', {"x": np.ones((2, 3))}, "all inputs of the network are"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, toml, arrays, message) -> None:
    path = saved(tmp_path, toml, **arrays)
    with pytest.raises(DataError, match=message):
        load_data(path, inputs=[X, H])


def test_sequences_of_different_lengths(tmp_path) -> None:
    z = NodeArg("z", ["N", 1], "tensor(float)")
    path = saved(tmp_path, '[states]\nh = "hn"\n', x=np.ones((2, 5, 3)), z=np.ones((2, 4, 1)))
    with pytest.raises(DataError, match="different numbers of steps: x has 5, z has 4"):
        load_data(path, inputs=[X, z, H])


def test_a_single_value_is_no_state(tmp_path) -> None:
    rate = NodeArg("rate", [], "tensor(float)")
    path = saved(tmp_path, '[states]\nrate = "r"\n', x=np.ones((2, 5, 3)))
    with pytest.raises(DataError, match="the input rate is a single value"):
        load_data(path, inputs=[X, rate])


def test_the_data_have_no_state_of_their_own() -> None:
    data = Dataset.of({"x": np.ones((2, 5, 3))}, states=FEEDS)
    with pytest.raises(DataError, match="the data have x"):
        data.on([X, NodeArg("z", ["N", 1], "tensor(float)"), H])
    with pytest.raises(UsageError, match="does not say the shape"):
        data.on([X, NodeArg("h", None, "tensor(float)")])  # type: ignore[arg-type]
