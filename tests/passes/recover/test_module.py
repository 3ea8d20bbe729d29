"""An image as a PyTorch module: what sessions give, gradients, training, and back."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper

import pimc
from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.errors import DataError, DeviceError, ModelError, UsageError
from pimc.image.image import Image
from pimc.passes.quantize.rounding import nearest
from pimc.passes.recover.module import ChipModule
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.studies.evaluate import float_session
from tests.passes.recover.students import model_of, normal


@pytest.fixture(scope="module", params=["offset", "differential", "sliced"])
def image(request, tiny_model, tiny_inputs) -> Image:
    chip = Chip.default().with_array(16, 8).with_mapping(request.param)
    return compile_model(tiny_model(), chip, calib=tiny_inputs)


@pytest.fixture(scope="module")
def x(tiny_inputs) -> torch.Tensor:
    return torch.from_numpy(tiny_inputs[:16])


def run(image: Image, x: torch.Tensor, **how: Any) -> np.ndarray:
    return Session(image, **how).run(None, {"x": x.numpy()})[0]


def of(module: ChipModule, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return module(x).numpy()


@pytest.mark.parametrize("seed", [None, 5])
def test_it_gives_what_a_session_gives(image, x, seed) -> None:
    die = None if seed is None else Die.simulated(seed)
    module = image.module(die).eval()
    wanted = run(image, x, die=None if seed is None else Die.simulated(seed))
    np.testing.assert_array_equal(of(module, x), wanted)
    # With gradients the values are the same ones.
    again = image.module(die).eval()(x)
    assert again.requires_grad
    np.testing.assert_array_equal(again.detach().numpy(), wanted)
    if seed is not None:
        assert not np.array_equal(of(module, x), wanted)  # noise of other reads
        assert die == Die.simulated(5)  # the caller's die is not written


def test_it_gives_what_a_session_gives_without_calibration_data(dynamic_image, x) -> None:
    found = of(dynamic_image.module(Die.simulated(3)).eval(), x)
    np.testing.assert_array_equal(found, run(dynamic_image, x, die=Die.simulated(3)))


def test_a_die_from_the_bench_is_read_as_it_is(tiny_image, x, tmp_path: Path) -> None:
    die = Die.simulated(9)
    Session(tiny_image, die=die)
    die.age(86400.0)
    die.save(tmp_path / "old.die")
    found = of(tiny_image.module(Die.load(tmp_path / "old.die")).eval(), x)
    np.testing.assert_array_equal(found, run(tiny_image, x, die=Die.load(tmp_path / "old.die")))


def test_a_recovered_image_with_residual_and_row_correction(tiny_image, x) -> None:
    rng = np.random.default_rng(0)
    columns = {
        layer.index: {
            "gain": rng.uniform(0.8, 1.2, layer.gain.shape).astype(np.float32),
            "row_correction": rng.normal(
                0, 0.5, (layer.groups, layer.col_blocks, layer.wordlines)
            ).astype(np.float32),
            "residual_index": np.array([0, 3], np.int64),
            "residual_value": np.array([0.1, -0.2], np.float32),
        }
        for layer in tiny_image.layers
    }
    found = tiny_image.updated(columns=columns)
    module = found.module(Die.simulated(2)).eval()
    wanted = run(found, x, die=Die.simulated(2))
    np.testing.assert_array_equal(of(module, x), wanted)
    # Cells alone amount to the same, up to the ADC and noise.
    module.through = "cells"
    assert np.std(of(module, x) - wanted) < 0.1 * wanted.std()


def test_through_cells_is_a_session_without_adc_and_noise(image, x) -> None:
    quiet = image.with_chip(image.chip.with_(**{"read_noise.relative": 0.0}))
    module = quiet.module(Die.simulated(5), through="cells").eval()
    wanted = run(quiet, x, die=Die.simulated(5), converters=False)
    np.testing.assert_allclose(of(module, x), wanted, rtol=1e-3, atol=2e-3)
    plain = quiet.module(Die.simulated(5), converters=False).eval()
    np.testing.assert_array_equal(of(plain, x), wanted)


def test_gradients_are_finite_differences_of_the_noiseless_path(image, x) -> None:
    module = image.module(through="weights").double()
    x = x.double().requires_grad_()
    values = [*module.parameters(), x]
    generator = torch.Generator().manual_seed(0)
    ways = [torch.randn(value.shape, generator=generator).double() for value in values]

    def loss() -> torch.Tensor:
        return module(x).square().sum()

    gradients = torch.autograd.grad(loss(), values)
    for value, way, gradient in zip(values, ways, gradients, strict=True):
        with torch.no_grad():
            step = 1e-7
            value.add_(way, alpha=step)
            above = loss()
            value.sub_(way, alpha=2 * step)
            below = loss()
            value.add_(way, alpha=step)
        found = ((above - below) / (2 * step)).item()
        assert (gradient * way).sum().item() == pytest.approx(found, rel=1e-5)


def test_gradients_pass_straight_through_the_chip(tiny_image, x) -> None:
    module = tiny_image.module(Die.simulated(5))
    last = module.layers[-1]
    y = module(x)
    bias, gain, weight, first = torch.autograd.grad(
        y.sum(), [last.bias, last.gain, last.weight, module.layers[0].weight]
    )
    np.testing.assert_allclose(bias, np.full(bias.shape, len(x)))
    raw = (y.detach() - last.bias) / last.gain  # what the chip gave
    torch.testing.assert_close(gain, raw.sum(dim=0).detach(), rtol=1e-4, atol=1e-4)
    assert weight.std(dim=1).min() >= 0
    assert float(first.abs().sum()) > 0
    # Of a weight asked for more than cells can hold, too: it may come back.
    with torch.no_grad():
        last.weight.mul_(10)
    (far,) = torch.autograd.grad(module(x).sum(), [last.weight])
    assert (far != 0).any(dim=2).all() == (weight != 0).any(dim=2).all()


def test_fresh_dies_in_training_and_the_same_in_evaluation(tiny_image, x) -> None:
    quiet = tiny_image.with_chip(tiny_image.chip.with_(**{"read_noise.relative": 0.0}))
    module = quiet.module(fresh=True)
    first, second = of(module, x), of(module, x)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(of(module.eval(), x), run(quiet, x))
    again = quiet.module(fresh=True)
    np.testing.assert_array_equal(of(again, x), first)
    other = quiet.module(fresh=True, seed=1)
    assert not np.allclose(of(other, x), first)
    fixed = quiet.module(Die.simulated(4))
    np.testing.assert_array_equal(of(fixed, x), of(fixed, x))


def test_it_trains_and_goes_back_into_an_image(tiny_image, x) -> None:
    module = tiny_image.module(Die.simulated(7))
    labels = torch.arange(len(x)) % 4
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(module(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < losses[0] - 0.1
    found = module.image()
    assert (found.levels != tiny_image.levels).any()
    assert (found.levels[~tiny_image.used] == tiny_image.levels[~tiny_image.used]).all()
    # The die that is written with it gives what the module does, read noise aside.
    quiet = found.with_chip(found.chip.with_(**{"read_noise.relative": 0.0}))
    again = quiet.module(Die.simulated(7)).eval()
    np.testing.assert_array_equal(of(again, x), run(quiet, x, die=Die.simulated(7)))
    assert np.std(of(module.eval(), x) - of(again, x)) < 0.1 * of(again, x).std()
    # Its float network is what was trained, or, where wanted, what was there before.
    module.through = "weights"
    in_float = float_session(found).run(None, {"x": x.numpy()})[0]
    np.testing.assert_allclose(in_float, of(module, x), rtol=1e-4, atol=1e-4)
    kept = module.image(teacher=False).layers[0].teacher_weight
    np.testing.assert_array_equal(kept, tiny_image.layers[0].teacher_weight)
    assert found.to_bytes() == Image.from_bytes(found.to_bytes()).to_bytes()


def test_weights_take_the_levels_that_the_compiler_would_give_them(image) -> None:
    module, book = image.module(), image.codebook
    with torch.no_grad():
        for layer in module.layers:
            layer.weight.add_(torch.randn_like(layer.weight) * layer.weight.std())
    for layer, now in zip(module.layers, module.image().layers, strict=True):
        shape = (now.groups, 1, now.cols)
        zero_us = book.values_us[now.zero].reshape(shape)
        weight = layer.weight.detach().numpy().astype(np.float64)
        codes = nearest(book, weight / now.scale.reshape(shape) + zero_us)
        cells = now.by_weight(module.image().cells(now))
        np.testing.assert_array_equal(module.image().levels.reshape(-1)[cells], book.levels[codes])


def test_an_untrained_module_gives_its_image_back(image) -> None:
    assert image.module().image() is image


def test_state_copies_and_files(tiny_image, x) -> None:
    module = tiny_image.module(Die.simulated(5))
    names = [f"layers.{n}.{name}" for n in range(3) for name in ("gain", "bias", "weight")]
    assert list(module.state_dict()) == names
    with torch.no_grad():
        module.layers[0].gain.mul_(1.5)
        module.layers[1].weight.mul_(0.5)
    module(x)
    other = tiny_image.module(Die.simulated(5))
    other.load_state_dict(module.state_dict())
    stream = io.BytesIO()
    torch.save(module, stream)
    stream.seek(0)
    loaded = torch.load(stream, weights_only=False)
    copied = copy.deepcopy(module)
    wanted = of(other.eval(), x)
    for one in (loaded, copied):
        np.testing.assert_array_equal(of(one.eval(), x), wanted)
    assert other.image().to_bytes() == module.image().to_bytes() == loaded.image().to_bytes()
    assert repr(module).splitlines()[1] == "  tiny.onnx, through the chip"


def test_several_inputs_and_outputs() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "z"], ["y"]),
    ]
    model = model_of(nodes, {"w": normal(4, 3)}, ["N", 4], ["N", 3])
    model.graph.input.append(helper.make_tensor_value_info("z", 1, ["N", 3]))
    model.graph.output.append(helper.make_tensor_value_info("a", 1, ["N", 3]))
    module = compile_model(model).module().eval()
    x, z = torch.rand(2, 4), torch.rand(2, 3)
    for found in (module(x, z), module(x=x, z=z), module(x, z=z)):
        y, a = found
        torch.testing.assert_close(y, a + z)
    for inputs, named in (((x,), {}), ((x, z, z), {}), ((x,), {"q": z}), ((x,), {"x": x})):
        with pytest.raises(UsageError, match=r"the network's inputs are x, z"):
            module(*inputs, **named)


def test_what_cannot_be_done_is_refused(tiny_image, tiny_chip, x) -> None:
    with pytest.raises(UsageError, match="'tiles' is none of chip, cells, weights"):
        tiny_image.module(through="tiles")
    with pytest.raises(UsageError, match="simulated dies only"):
        tiny_image.module(Session(tiny_image).device)
    die = Die.simulated(1)
    Session(tiny_image.with_chip(tiny_chip.with_sigma(0.2)), die=die)
    with pytest.raises(DeviceError, match="other parameters"):
        tiny_image.module(die)(x)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Round", ["a"], ["y"]),
    ]
    rounding = compile_model(model_of(nodes, {"w": normal(4, 3)}, ["N", 4], ["N", 3]))
    with pytest.raises(ModelError, match="no gradient passes through Round"):
        rounding.module()(torch.rand(2, 4))
    rounding.module().eval()(torch.rand(2, 4))


def test_the_function_is_the_method(tiny_image, x) -> None:
    found = pimc.module(tiny_image, Die.simulated(5)).eval()
    np.testing.assert_array_equal(of(found, x), of(tiny_image.module(Die.simulated(5)).eval(), x))


def test_it_computes_in_the_type_that_it_is_moved_to(tiny_image, x) -> None:
    module = tiny_image.module(Die.simulated(5), through="cells").eval()
    single = of(module, x)
    double = of(module.to(torch.float64), x.double())
    assert double.dtype == np.float64
    np.testing.assert_allclose(double, single, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("through", ["chip", "cells", "weights"])
@pytest.mark.parametrize(
    "given",
    [torch.zeros(2, 2, 8), torch.zeros(2, 2, 8, 8).double(), torch.zeros(2, 2, 8, 8).long(), [1.0]],
)
def test_inputs_that_do_not_fit_are_refused(tiny_image, through, given) -> None:
    with pytest.raises(DataError, match=r"input x: .* does not fit"):
        tiny_image.module(through=through)(given)


def test_what_values_come_from_is_looked_at_whenever_it_is_set(tiny_image, x, here: Path) -> None:
    tiny_image.save("tiny.pimc")
    module = pimc.module("tiny.pimc", Die.simulated(5))
    module.through = "weights"
    assert module(x.numpy()).shape == (16, 4)
    with pytest.raises(UsageError, match="'tiles' is none of chip, cells, weights"):
        setattr(module, "through", "tiles")  # noqa: B010  # a word that its type has not


def test_types_that_a_chip_does_not_compute_in_are_refused(tiny_image, x) -> None:
    with pytest.raises(UsageError, match=r"through the chip has no torch\.float64"):
        tiny_image.module().double()(x.double())
    with pytest.raises(UsageError, match=r"through the weights has no torch\.float16"):
        tiny_image.module(through="weights").half()(x.half())
