"""What layers give while the digital side is trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.recover.estimate import prior
from pimc.passes.recover.know.codes import identify
from pimc.passes.recover.twin.forward import through_chip, with_noise
from pimc.passes.recover.twin.twin import Twin
from pimc.runtime.capture import CaptureOptions, capture
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session


@pytest.fixture(scope="module")
def session(tiny_image: Image) -> Session:
    return Session(tiny_image, die=Die.simulated(4))


def twin_of(image: Image) -> Twin:
    return Twin.of(image, {layer.index: prior(image, layer) for layer in image.layers})


def test_values_are_the_chips_and_gradients_the_twins(tiny_image, tiny_inputs) -> None:
    quiet = tiny_image.updated(chip=tiny_image.chip.with_(**{"read_noise.relative": 0.0}).to_dict())
    session, twin = Session(quiet, die=Die.simulated(4)), twin_of(quiet)
    executor, x = session.executor, torch.from_numpy(tiny_inputs)
    (name,) = (arg.name for arg in session.get_outputs())
    array = through_chip(twin, session.layers)
    found = executor.run({"x": x}, array=array)[name]
    on_chip = session.evaluate({"x": x})[name]
    in_twin = executor.run({"x": x}, array=twin)[name]
    torch.testing.assert_close(found, on_chip, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, in_twin, rtol=1e-2)

    # The last layer is linear in what it gets: its own bias has the twin's gradient exactly.
    last = twin.layers[quiet.layers[-1].name]
    (mine,) = torch.autograd.grad(found.sum(), [last.bias])
    (twins,) = torch.autograd.grad(in_twin.sum(), [last.bias])
    torch.testing.assert_close(mine, twins)
    # Its gain meets what the chip gives before it.
    (gain,) = torch.autograd.grad(executor.run({"x": x}, array=array)[name].sum(), [last.gain])
    raw = (on_chip - last.bias) / last.gain
    torch.testing.assert_close(gain, raw.sum(dim=0), rtol=1e-3, atol=1e-3)


def test_it_follows_the_gains_that_are_trained(tiny_image, session, tiny_inputs) -> None:
    twin = twin_of(tiny_image)
    (name,) = (arg.name for arg in session.get_outputs())
    last = twin.layers[tiny_image.layers[-1].name]
    array, x = through_chip(twin, session.layers), torch.from_numpy(tiny_inputs)
    before = session.executor.run({"x": x}, array=array)[name]
    with torch.no_grad():
        last.gain.mul_(2.0)
        last.bias.mul_(2.0)
    after = session.executor.run({"x": x}, array=array)[name]
    assert float((after - 2 * before).detach().std() / before.detach().std()) < 0.1


def test_the_noise_is_that_of_the_reads(tiny_image, session, tiny_inputs) -> None:
    captured = capture(session, Dataset.of(tiny_inputs), CaptureOptions(repeats=16), outputs=False)
    estimates = {
        layer.index: identify(prior(tiny_image, layer), tiny_image, layer, record)
        for layer, record in zip(tiny_image.layers, captured.layers.values(), strict=True)
    }
    twin = Twin.of(tiny_image, estimates)
    array = with_noise(twin, torch.Generator().manual_seed(0))
    for node in session.image.graph().graph:
        if node.op_type != "Array":
            continue
        layer = next(v for v in tiny_image.layers if v.output == node.outputs[0].name)
        record = captured.layers[layer.index]
        single = record.codes.var(axis=0, ddof=1).mean(axis=-1) * layer.lsb_us**2
        by_column = single.reshape(layer.groups, layer.row_blocks, -1).sum(axis=1).reshape(-1)
        wanted = np.sqrt(by_column) * layer.scale * layer.gain * (layer.input_scale or 1.0)
        x = torch.rand(512, *SHAPES[layer.index], generator=torch.Generator().manual_seed(0))
        noise = (array(node, x) - twin(node, x)).detach()
        columns = noise.movedim(-1 if layer.window is None else 1, 0).flatten(1)
        np.testing.assert_allclose(columns.std(dim=1).numpy(), wanted, rtol=0.15)


#: Inputs of the tiny network's layers, without the batch.
SHAPES = {0: (2, 8, 8), 1: (6, 4, 4), 2: (8,)}
