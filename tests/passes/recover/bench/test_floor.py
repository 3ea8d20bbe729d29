"""The floor: what perfect cells would give under a chip's read noise and converters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.recover.bench.floor import with_perfect_cells
from pimc.passes.recover.bench.known import held_out_part
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Floor
from pimc.passes.recover.twin.goal import Goal
from pimc.plan.records import layer_of
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.feeds import tensors
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array
from tests.lab import install


@pytest.fixture(scope="module")
def floor(tiny_model, tiny_inputs) -> Any:
    calib = Dataset.of(np.random.default_rng(3).standard_normal((96, 2, 8, 8)).astype(np.float32))

    def of(**keys: Any) -> Floor:
        chip = Chip.default().with_array(64, 32).with_(**keys)
        image = compile_model(tiny_model(), chip, calib=tiny_inputs, options=Options())
        device = SimDevice(Die.simulated(7), image.chip, image.arrays)
        program(image, device)
        return recover(image, device, calib, RecoverOptions(), strategy="none").floor

    return of


def test_programming_errors_and_stuck_cells_do_not_raise_it(floor) -> None:
    imprecise = {"cell.sigma.fraction_of_range": 0.2, "faults.stuck_gmin_rate": 0.1}
    # Compiling looks at the chip's errors, too, so the codes may differ a little.
    assert floor(**imprecise).loss < 2 * floor().loss + 0.01


def test_read_noise_and_coarse_converters_raise_it(floor) -> None:
    plain = floor()
    assert floor(**{"read_noise.relative": 0.3}).loss > 3 * plain.loss
    assert floor(**{"adc.bits": 3}).loss > 3 * plain.loss
    assert 0 <= plain.agreement <= 1


def test_perfect_cells_hold_the_levels_and_read_with_noise(tiny_image: Image) -> None:
    image = with_perfect_cells(tiny_image)
    np.testing.assert_array_equal(image.levels, tiny_image.levels)
    x = np.random.default_rng(1).standard_normal((4, 2, 8, 8)).astype(np.float32)
    die = Die.simulated(3)
    session = Session(image, die=die)
    used = image.used
    levels_us = np.asarray(image.chip.cell.g_levels_us)
    np.testing.assert_allclose(die.cells.g_us[used], levels_us[image.levels[used]], rtol=1e-5)
    name = session.get_inputs()[0].name
    first, second = session.run(None, {name: x})[0], session.run(None, {name: x})[0]
    assert not np.array_equal(first, second)


def test_it_is_told_what_each_layer_costs_and_why(floor, tiny_image) -> None:
    noisy, coarse = floor(**{"read_noise.relative": 0.3}), floor(**{"adc.bits": 3})
    for found in (noisy, coarse):
        names = [cost.layer for cost in found.layers]
        assert sorted(names) == sorted(layer.name for layer in tiny_image.layers)
        losses = [cost.loss for cost in found.layers]
        assert losses == sorted(losses, reverse=True)
        # One layer costs less than all of them.
        assert 0 < losses[0] < found.loss
        assert all(0 <= (cost.disagreement or 0) <= 1 for cost in found.layers)
    assert noisy.layers[0].noise > 0.7
    assert coarse.layers[0].noise < 0.5


def test_what_a_layer_costs_is_the_loss_of_a_network_with_that_layer_alone_read(
    tiny_model, tiny_inputs
) -> None:
    """By definition, the whole network run for each; without noise, so that reads are the same."""
    chip = Chip.default().with_array(64, 32).with_(**{"read_noise.relative": 0.0, "adc.bits": 5})
    image = compile_model(tiny_model(), chip, calib=tiny_inputs)
    device, options = SimDevice(Die.simulated(7), image.chip, image.arrays), RecoverOptions()
    program(image, device)
    data = Dataset.of(tiny_inputs)
    found = recover(image, device, data, options, strategy="none").floor
    part = held_out_part(len(data), options.holdout)
    held_out, _ = data.split(part, np.random.default_rng(options.seed))
    feed, teacher = tensors(held_out.all_inputs()), teacher_array(image)
    perfect = Session(image)
    names = [output.name for output in perfect.get_outputs()]
    wanted = list(perfect.evaluate(feed, want=names, array=teacher).values())
    goal = Goal.of(None, wanted)
    assert len(found.layers) == len(image.layers) > 2
    for cost in found.layers:

        def alone(node, x: torch.Tensor, name: str = cost.layer) -> torch.Tensor:
            return perfect.layers[name](x) if layer_of(node) == name else teacher(node, x)

        values = perfect.evaluate(feed, want=names, array=alone)
        assert cost.loss == pytest.approx(float(goal.loss(list(values.values()), wanted)), rel=1e-4)


def test_clipping_is_found_where_the_range_is_too_small(tiny_image, tiny_inputs) -> None:
    second = tiny_image.layers[1]
    image = tiny_image.with_layers([replace(second, adc_lsb_us=second.adc_lsb_us / 4)])
    told: list[Floor] = []
    recovery = recover(
        image,
        SimDevice(Die.simulated(1), image.chip, image.arrays),
        Dataset.of(tiny_inputs),
        strategy="none",
        announce=told.append,
    )
    assert told == [recovery.floor]
    costliest = recovery.floor.layers[0]
    assert costliest.layer == image.layers[1].name
    assert costliest.clipped > 0.05 > max(cost.clipped for cost in recovery.floor.layers[1:])


def test_nothing_is_weighed_where_nobody_asks(tiny_image, tiny_inputs) -> None:
    device = SimDevice(Die.simulated(1), tiny_image.chip, tiny_image.arrays)
    program(tiny_image, device)
    options = RecoverOptions(cost_images=0)
    found = recover(tiny_image, device, Dataset.of(tiny_inputs), options, strategy="none")
    assert found.floor.layers == ()


def test_terms_of_a_laboratorys_own_count_where_they_act(floor, tmp_path, monkeypatch) -> None:
    install(tmp_path, monkeypatch)
    plain = floor()
    # What cells hold, writing can make up for; noise of reads no recovery passes.
    assert floor(**{"physics.cell.relax.share": 0.5}).loss < 2 * plain.loss + 0.01
    assert floor(**{"physics.read.shot.factor_us": 60.0}).loss > 3 * plain.loss
