"""Gains and offsets of columns: what a chip does to them is undone, layer after layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pimc.api import compile as compile_model
from pimc.image.image import Image
from pimc.passes.recover.digital.calibrate import (
    as_spread,
    calibrate,
    nearest,
    without_runaways,
)
from pimc.plan.records import layer_of
from pimc.runtime.graph.executor import ArrayCall
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array
from tests.passes.lowered_nets import drawn, model_of, node


@pytest.fixture(scope="module")
def image(tiny_model, tiny_inputs, tiny_chip) -> Image:
    return compile_model(tiny_model(), tiny_chip, calib=tiny_inputs)


def bent(image: Image, array: ArrayCall, seed: int, slopes: tuple[float, float]) -> ArrayCall:
    """A chip that computes what ``array`` does, each column with a slope and an offset."""
    rng = np.random.default_rng(seed)
    lines = {
        layer.name: torch.from_numpy(
            np.stack(
                [rng.uniform(*slopes, layer.gain.shape), rng.standard_normal(layer.gain.shape)]
            )
        ).float()
        for layer in image.layers
    }

    def read(node, x: torch.Tensor) -> torch.Tensor:
        y = array(node, x)
        slope, offset = lines[layer_of(node)]
        shape = (-1,) if y.dim() == 2 else (1, -1, *(1,) * (y.dim() - 2))
        return y * slope.view(shape) + offset.view(shape)

    return read


def with_columns(read: ArrayCall, before: Image, after: Image) -> ArrayCall:
    """The same chip behind the digital side of another image: y = gain · raw + bias."""
    old = {layer.name: layer for layer in before.layers}
    new = {layer.name: layer for layer in after.layers}

    def call(node, x: torch.Tensor) -> torch.Tensor:
        y, name = read(node, x), layer_of(node)
        shape = (-1,) if y.dim() == 2 else (1, -1, *(1,) * (y.dim() - 2))
        gain, bias, own_gain, own_bias = (
            torch.from_numpy(value).view(shape)
            for value in (new[name].gain, new[name].bias, old[name].gain, old[name].bias)
        )
        return gain * (y - own_bias) / own_gain + bias

    return call


def outputs(image: Image, array: ArrayCall, x: torch.Tensor) -> torch.Tensor:
    session = Session(image)
    return session.evaluate({"x": x}, array=array)["y"]


def test_a_line_of_every_column_is_undone(image, tiny_inputs) -> None:
    """Of three layers, each of which only sees what the corrected ones before it give."""
    x, teacher = torch.from_numpy(tiny_inputs), teacher_array(image)
    chip = bent(image, teacher, 1, (0.6, 1.9))
    found = calibrate(Session(image), teacher, {"x": x}, chip)
    wanted = outputs(image, teacher, x)
    before = float((outputs(image, chip, x) - wanted).abs().max())
    fixed = with_columns(chip, image, found)
    after = float((outputs(image, fixed, x) - wanted).abs().max())
    assert after < 1e-4 * before
    fresh = torch.from_numpy(tiny_inputs[::-1].copy() * 1.3)
    away = outputs(found, fixed, fresh) - outputs(image, teacher, fresh)
    assert float(away.abs().max()) < 1e-4 * before


def test_gains_stay_within_half_and_twice_what_they_were(image, tiny_inputs) -> None:
    """A column that hardly answers is not blown up; its mean is put right all the same."""
    x, teacher = torch.from_numpy(tiny_inputs), teacher_array(image)
    for slopes, limit in (((0.05, 0.1), 2.0), ((8.0, 9.0), 0.5)):
        chip = bent(image, teacher, 2, slopes)
        found = calibrate(Session(image), teacher, {"x": x}, chip)
        for old, new in zip(image.layers, found.layers, strict=True):
            np.testing.assert_allclose(new.gain, limit * old.gain, rtol=1e-5)
        fixed = with_columns(chip, image, found)
        (wanted, got) = (outputs(image, array, x).mean(dim=0) for array in (teacher, fixed))
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)


def test_slopes_are_those_of_least_squares(image, tiny_inputs) -> None:
    """On a chip with noise of its own: numpy's line through outputs and the teacher's."""
    x, teacher = torch.from_numpy(tiny_inputs), teacher_array(image)
    seen: dict[str, torch.Tensor] = {}
    wanted: dict[str, torch.Tensor] = {}
    first = image.layers[0]

    def noisy(node, x: torch.Tensor) -> torch.Tensor:
        y = teacher(node, x)
        name = layer_of(node)
        generator = torch.Generator().manual_seed(
            len(x) * y.shape[1] + int(1e4 * abs(float(x.sum())))
        )
        found = 0.8 * y + 0.3 * y.std() * torch.randn(y.shape, generator=generator) + 0.5
        if name == first.name:
            seen[name] = torch.cat([seen[name], found]) if name in seen else found
            wanted[name] = torch.cat([wanted[name], y]) if name in wanted else y
        return found

    found = calibrate(Session(image), teacher, {"x": x}, noisy).layers[0]
    for column in range(first.cols):
        ours, theirs = (
            values[first.name][:, column].double().numpy().reshape(-1) for values in (seen, wanted)
        )
        slope, offset = np.polyfit(ours, theirs, 1)
        assert found.gain[column] == pytest.approx(slope * first.gain[column], rel=1e-4)
        wanted_bias = slope * first.bias[column] + offset
        assert found.bias[column] == pytest.approx(wanted_bias, rel=1e-3, abs=1e-3)


def test_a_layer_of_several_uses_has_one_line_for_all(tiny_chip) -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Tanh", ["a"], ["b"]),
        node("MatMul", ["b", "w"], ["y"]),
    ]
    model = model_of(nodes, {"x": ["N", 12]}, {"w": drawn(12, 12)})
    x = drawn(200, 12) * 3
    image = compile_model(model, tiny_chip, calib=x)
    teacher = teacher_array(image)
    chip = bent(image, teacher, 3, (0.6, 1.9))
    found = calibrate(Session(image), teacher, {"x": torch.from_numpy(x)}, chip)
    fixed = with_columns(chip, image, found)
    (wanted, got) = (outputs(image, array, torch.from_numpy(x)) for array in (teacher, fixed))
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)


def test_columns_have_the_spread_that_is_wanted_however_large_their_errors() -> None:
    generator = torch.Generator().manual_seed(0)
    wanted = torch.randn(3, 5000, generator=generator) * torch.tensor([[0.5], [1.0], [4.0]]) + 2
    errors = torch.randn(3, 5000, generator=generator) * torch.tensor([[0.0], [0.5], [3.0]])
    found = 0.8 * (wanted + errors) - 1
    slope, offset = as_spread(found, wanted)
    given = slope[:, None] * found + offset[:, None]
    torch.testing.assert_close(given.mean(dim=1), wanted.mean(dim=1))
    torch.testing.assert_close(given.std(dim=1), wanted.std(dim=1))
    # The nearest is narrower by the share that errors have: 1 / (1 + (0.5 / 1)²), ...
    share = torch.tensor([1.0, 1 / 1.25, 1 / (1 + 9 / 16)])
    near, _ = nearest(found, wanted)
    torch.testing.assert_close(near / slope, share.sqrt(), rtol=0.03, atol=0)


def test_a_column_that_gives_nothing_keeps_its_slope() -> None:
    slope, offset = as_spread(torch.full((1, 4), 7.0), torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    assert (slope.item(), offset.item()) == (1.0, -4.5)


@pytest.mark.parametrize("fit", [nearest, as_spread])
def test_samples_for_which_the_network_has_run_away_set_no_gain(fit) -> None:
    generator = torch.Generator().manual_seed(3)
    y = torch.randn(4, 4000, generator=generator)
    x = 0.8 * y + 0.1 + 0.2 * torch.randn(4, 4000, generator=generator)
    slope, offset = fit(x, y)
    same = without_runaways(fit, x, y)
    assert torch.equal(same[0], slope)
    assert torch.equal(same[1], offset)
    with_runaways = x.clone()
    with_runaways[:, ::100] = 60.0 * torch.randn(4, 40, generator=generator)
    assert float((fit(with_runaways, y)[0] - slope).abs().min()) > 0.3
    found = without_runaways(fit, with_runaways, y)
    assert torch.allclose(found[0], slope, atol=0.02)
    assert torch.allclose(found[1], offset, atol=0.02)


def test_columns_that_never_move_and_columns_that_are_all_away_are_fitted_as_they_are() -> None:
    y = torch.stack([torch.full((50,), 2.0), torch.linspace(-1, 1, 50)])
    x = torch.stack([torch.linspace(0, 1, 50), torch.full((50,), 900.0)])
    for ours, theirs in zip(without_runaways(nearest, x, y), nearest(x, y), strict=True):
        assert torch.equal(ours, theirs)
