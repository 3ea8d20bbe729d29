"""Networks with a state step by step, held to a loop by hand over ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pimc.api import compile as compile_model
from pimc.api import read
from pimc.data import rows
from pimc.data.dataset import Dataset, load_data
from pimc.errors import DataError
from pimc.image.image import Image
from pimc.runtime.network import GraphNetwork, Network
from pimc.runtime.sequences import grows, in_steps, unrolled
from pimc.runtime.session import Session
from tests.stateful import CACHE, HIDDEN, by_hand, detector, golden, language_model, sounds, windows

STATES = {"state": "stateN"}
FRAMES, LOUD = sounds(20, 5)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return detector()


@pytest.fixture(scope="module")
def network(model) -> GraphNetwork:
    return GraphNetwork(read(model).graph)


@pytest.fixture(scope="module")
def image(model, network, tmp_path_factory) -> Image:
    folder = tmp_path_factory.mktemp("detector")
    return compile_model(model, calib=given(folder, network, input=FRAMES))


def given(folder: Path, network: Network, **arrays: Any) -> Dataset:
    """Sequences for the detector, from a file."""
    np.savez(folder / "x.npz", sr=np.int64(16000), **arrays)
    return load_data(folder / "x.npz", inputs=network.get_inputs(), states=STATES)


def start() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((20, 2, HIDDEN)).astype(np.float32)


def test_the_float_network_gives_what_a_loop_gives(tmp_path, model, network) -> None:
    data = given(tmp_path, network, input=FRAMES)
    assert data.states is not None
    assert data.states.steps == 5
    found = in_steps(network, data, data.feed(0, 20), ["output", "stateN"])
    assert found["output"].shape == (20, 5, 1)
    assert found["stateN"].shape == (20, 5, 2, HIDDEN)
    wanted = by_hand(golden(model).run, FRAMES)
    assert wanted.std() > 0.05
    np.testing.assert_allclose(found["output"][..., 0], wanted, atol=1e-6)


def test_a_state_at_the_start_counts(tmp_path, model, network) -> None:
    data = given(tmp_path, network, input=FRAMES, state=start())
    found = in_steps(network, data, data.feed(0, 20), ["output"])["output"][..., 0]
    wanted = by_hand(golden(model).run, FRAMES, start().swapaxes(0, 1))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert abs(wanted - by_hand(golden(model).run, FRAMES)).max() > 0.01


def test_the_chip_is_fed_by_its_own_states(tmp_path, image) -> None:
    session = Session(image)
    data = given(tmp_path, session, input=FRAMES)
    found = in_steps(session, data, data.feed(0, 20), ["output"])["output"][..., 0]
    np.testing.assert_array_equal(found, by_hand(Session(image).run, FRAMES))


def test_steps_become_samples_with_the_states_before_them(tmp_path, model, network) -> None:
    data = unrolled(given(tmp_path, network, input=FRAMES), network)
    assert len(data) == 100
    assert not data.is_sequential
    feed = data.feed(0, 100)
    assert feed["state"].shape == (2, 100, HIDDEN)  # where the network has its batch axis
    np.testing.assert_array_equal(feed["input"], FRAMES.reshape(100, -1))
    assert not feed["state"][:, ::5].any()
    assert feed["state"][:, 1::5].any()
    output = golden(model).run(["output"], feed)[0].reshape(20, 5)
    np.testing.assert_allclose(output, by_hand(golden(model).run, FRAMES), atol=1e-6)
    some = data.subset([7, 99]).all_inputs()
    np.testing.assert_array_equal(some["state"], feed["state"][:, [7, 99]])


def test_large_states_lie_in_a_file(tmp_path, network, monkeypatch) -> None:
    held = unrolled(given(tmp_path, network, input=FRAMES), network)
    monkeypatch.setattr(rows, "HELD_BYTES", 1000)
    laid_down = unrolled(given(tmp_path, network, input=FRAMES), network)
    assert isinstance(laid_down.columns["state"].stored, rows.FileRows)
    assert isinstance(laid_down.columns["input"].stored, rows.FileRows)
    assert laid_down.fingerprint() == held.fingerprint()


def test_data_without_states_are_left_alone(tiny_inputs, tiny_image) -> None:
    data = Dataset.of(tiny_inputs)
    assert unrolled(data, tiny_image) is data


def test_a_sequence_stays_in_one_part(tmp_path, network) -> None:
    data = unrolled(given(tmp_path, network, input=FRAMES), network)
    first, second = data.split_indices(0.1, np.random.default_rng(0))
    assert len(first) == 10
    assert sorted([*first, *second]) == list(range(100))
    assert not set(first // 5) & set(second // 5)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({"state": "outputs"}, r"no output outputs \(did you mean output\?\), to feed state"),
        ({"state": "output"}, r"the output output is tensor\(float\) \['batch', 1\], the input"),
    ],
)
def test_outputs_that_do_not_feed_are_named(tmp_path, network, states, message) -> None:
    np.savez(tmp_path / "x.npz", input=FRAMES, sr=np.int64(16000))
    data = load_data(tmp_path / "x.npz", inputs=network.get_inputs(), states=states)
    with pytest.raises(DataError, match=message):
        unrolled(data, network)


def test_axes_without_names(tmp_path) -> None:
    """The batch axis of a state is the only one that is free."""
    bare = GraphNetwork(read(detector(batch="")).graph)
    data = given(tmp_path, bare, input=FRAMES)
    found = in_steps(bare, data, data.feed(0, 20), ["output"])["output"][..., 0]
    np.testing.assert_allclose(found, by_hand(golden(detector()).run, FRAMES), atol=1e-6)


def test_a_cache_starts_empty_and_grows() -> None:
    ids, network = windows(6), GraphNetwork(read(language_model()).graph)
    inputs = network.get_inputs()
    whole = Dataset.of({"ids": ids}, states=CACHE).on(inputs)
    apart = unrolled(whole, network)
    feed = apart.feed(0, 6)
    assert feed["past.0.key"].shape == (6, 2, 0, 4)
    outputs = in_steps(network, whole, whole.feed(0, 6), ["logits", "present.0.key"])
    assert outputs["logits"].shape == (6, 10, 12)
    wanted = golden(language_model()).run(["logits", "present.0.key"], feed)
    np.testing.assert_allclose(outputs["logits"], wanted[0], atol=1e-5)
    by_token = Dataset.of({"ids": ids[:, :, None]}, states=CACHE).on(inputs)
    stepped = in_steps(network, by_token, by_token.feed(0, 6), ["logits", "present.0.key"])
    np.testing.assert_allclose(stepped["logits"][:, :, 0], wanted[0], atol=1e-5)
    np.testing.assert_allclose(stepped["present.0.key"], wanted[1], atol=1e-5)
    assert grows(by_token)
    with pytest.raises(DataError, match=r"the state past\.0\.key grows from step to step"):
        unrolled(by_token, network)
