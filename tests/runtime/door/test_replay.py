"""A recording answers what was recorded, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pimc.api import compile as compile_model
from pimc.data.dataset import Dataset
from pimc.errors import CaptureError, DeviceError
from pimc.runtime.capture import Capture, CaptureOptions, capture, capture_layer
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door import drivers
from pimc.runtime.door.device import Device
from pimc.runtime.door.drivers import require_programmed
from pimc.runtime.door.replay import ReplayDevice
from pimc.runtime.session import Session


@pytest.fixture(scope="module")
def taken(tiny_image, tiny_inputs) -> Capture:
    session = Session(tiny_image, die=Die.simulated(3))
    return capture(session, Dataset.of(tiny_inputs), CaptureOptions(vectors=32, repeats=3))


@pytest.fixture
def replay(tiny_image, taken) -> ReplayDevice:
    return ReplayDevice(tiny_image, taken)


def recorded(capture: Capture, index: int) -> torch.Tensor:
    """(1, blocks, rows, vectors)."""
    return torch.from_numpy(capture.layers[index].inputs.astype(np.float32))[None]


def codes_of(capture: Capture, index: int) -> np.ndarray:
    """(blocks, columns, vectors): mean over the repeats."""
    return np.asarray(capture.layers[index].codes.astype(np.float64).mean(axis=0))


def test_it_is_the_die_that_was_recorded(replay, tiny_image) -> None:
    assert isinstance(replay, Device)
    assert replay.name == "sim:3"
    require_programmed(tiny_image, replay)
    cells = np.flatnonzero(tiny_image.used)[::-1]
    np.testing.assert_array_equal(replay.written(cells), tiny_image.levels.reshape(-1)[cells])


def test_recorded_reads_give_the_mean_of_the_repeats(replay, taken, tiny_image) -> None:
    for layer in tiny_image.layers:
        found = replay.read(Region.of(tiny_image, layer), recorded(taken, layer.index))
        wanted = taken.layers[layer.index].codes.astype(np.float64).mean(axis=0)
        vectors = taken.layers[layer.index].inputs
        for v in range(vectors.shape[2]):  # of equal vectors the mean of all
            same = (vectors == vectors[:, :, v : v + 1]).all(axis=(0, 1))
            wanted[:, :, v] = codes_of(taken, layer.index)[:, :, same].mean(axis=2)
        np.testing.assert_allclose(found[0].numpy(), wanted, rtol=1e-6)


def test_any_order_batch_and_choice_of_recorded_vectors(replay, taken, tiny_image) -> None:
    layer = tiny_image.layers[1]
    order = torch.tensor([[5, 0, 31], [7, 7, 2]])
    inputs = recorded(taken, 1)[0][:, :, order].permute(2, 0, 1, 3)
    found = replay.read(Region.of(tiny_image, layer), inputs)
    mean = torch.from_numpy(taken.layers[1].codes.astype(np.float32)).mean(dim=0)
    torch.testing.assert_close(found, mean[:, :, order].permute(2, 0, 1, 3))


def test_capturing_a_recording_gives_it_back(replay, taken, tiny_image) -> None:
    bound = Session(tiny_image, die=replay).layers[tiny_image.layers[0].name]
    again = capture_layer(bound, tiny_image, replay, recorded(taken, 0)[0], 1)
    np.testing.assert_array_equal(again.inputs, taken.layers[0].inputs)
    np.testing.assert_allclose(again.outputs, taken.layers[0].outputs, rtol=1e-4, atol=1e-5)


def test_other_reads_are_refused_and_counted(replay, taken, tiny_image) -> None:
    layer = tiny_image.layers[1]
    inputs = recorded(taken, 1).clone()
    inputs[0, 0, 0, 3] += 1
    inputs[0, 0, 0, 9] += 1
    with pytest.raises(DeviceError, match="2 of 32 input vectors") as caught:
        replay.read(Region.of(tiny_image, layer), inputs)
    assert caught.value.where == layer.name


def test_a_layer_that_was_not_recorded(taken, tiny_image) -> None:
    layers = {index: layer for index, layer in taken.layers.items() if index != 2}
    replay = ReplayDevice(tiny_image, replace(taken, layers=layers))
    with pytest.raises(DeviceError, match="not recorded"):
        replay.read(Region.of(tiny_image, tiny_image.layers[2]), recorded(taken, 2))


def test_running_the_network_on_new_inputs_is_refused(replay, tiny_image, tiny_inputs) -> None:
    with pytest.raises(DeviceError, match="not recorded"):
        Session(tiny_image, die=replay).run(None, {"x": tiny_inputs[:2] * 0.37})


def test_writes_are_refused(replay, tiny_image) -> None:
    with pytest.raises(DeviceError, match="cannot be written"):
        replay.program(np.array([0]), np.array([1], np.uint16))


def test_opening_a_file(taken, tiny_image, tiny_model, tiny_chip, tmp_path) -> None:
    taken.save(tmp_path / "a.pimccap")
    opened = ReplayDevice.open(tiny_image, die=tmp_path / "a.pimccap")
    layer = tiny_image.layers[0]
    found = opened.read(Region.of(tiny_image, layer), recorded(taken, 0))
    assert found.shape == (1, *taken.layers[0].codes.shape[1:])
    with pytest.raises(DeviceError, match="needs a file"):
        ReplayDevice.open(tiny_image)
    with pytest.raises(CaptureError, match="no such file"):
        ReplayDevice.open(tiny_image, die=tmp_path / "b.pimccap")
    other = compile_model(tiny_model(seed=1), tiny_chip)
    with pytest.raises(CaptureError, match="another image"):
        ReplayDevice.open(other, die=tmp_path / "a.pimccap")


def test_the_driver_is_found_without_installed_metadata(
    taken, tiny_image, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("pimc.files.entry_points.entry_points", lambda group: ())
    assert [info.name for info in drivers.devices()] == ["replay", "sim"]
    assert all(info.available and info.description for info in drivers.devices())
    taken.save(tmp_path / "a.pimccap")
    assert drivers.open_device("replay", tiny_image, die=tmp_path / "a.pimccap").name == "sim:3"


def test_a_layer_of_which_only_sums_were_recorded(taken, tiny_image) -> None:
    layers = {n: replace(layer, codes=layer.codes[:0]) for n, layer in taken.layers.items()}
    replay = ReplayDevice(tiny_image, replace(taken, layers=layers))
    region = Region.of(tiny_image, tiny_image.layers[0])
    with pytest.raises(DeviceError, match="codes of this layer were not recorded"):
        replay.read(region, torch.from_numpy(taken.layers[0].inputs.astype(np.float32))[None])
