"""The loop with every mapping, layout and converter, and what it refuses, on a tiny network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.errors import CaptureError, DataError, DeviceError, ImageError, ModelError, UsageError
from pimc.image.image import Image
from pimc.passes.recover import DistillOptions, RecoverOptions, Recovery, recover
from pimc.passes.recover.bench.floor import with_perfect_cells
from pimc.passes.recover.bench.known import held_out_part
from pimc.passes.recover.samples import MIN_SAMPLES
from pimc.passes.recover.twin.goal import Goal
from pimc.runtime.capture import CaptureOptions, capture
from pimc.runtime.die.die import Die
from pimc.runtime.door.device import Device
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from pimc.studies.evaluate import float_session
from tests.passes.recover.closed_device import ClosedDevice

VARIANTS = [(k, p) for k in ("offset", "differential", "sliced") for p in ("reference", "digital")]

pytestmark = pytest.mark.usefixtures("one_thread")


TINY = RecoverOptions(
    budget=0.2,
    rounds=2,
    capture=CaptureOptions(vectors=128, repeats=2, images=32),
    distill=DistillOptions(epochs=2, batch_size=16),
)


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    """(256, 2, 8, 8): the first half calibrates, the second judges."""
    return np.random.default_rng(5).standard_normal((256, 2, 8, 8)).astype(np.float32)


def tiny(tiny_model: Any, x: np.ndarray | None, **changes: Any) -> Image:
    chip = Chip.default().with_array(64, 32).with_sigma(0.08).with_(**changes)
    return compile_model(tiny_model(), chip, calib=x)


def distance(image: Image, device: Any, x: np.ndarray) -> float:
    """Mean squared distance of the outputs from the float network's, over their variance."""
    (wanted,) = float_session(image).run(None, {"x": x})
    (found,) = Session(image, die=device).run(None, {"x": x})
    return float(((found - wanted) ** 2).mean() / wanted.var())


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_mapping_recovers(tiny_model, inputs, variant) -> None:
    kind, pedestal = variant
    image = tiny(tiny_model, inputs[:64], **{"mapping.kind": kind, "mapping.pedestal": pedestal})
    device = ClosedDevice(image, 2)
    before = distance(image, device, inputs[128:])
    recovery = recover(image, device, Dataset.of(inputs[:128]), TINY)
    assert distance(recovery.image, device, inputs[128:]) < 0.4 * before
    assert len(device.writes) <= 0.2 * image.used.sum()


PAIR = {"mapping.kind": "differential"}
OTHERS: list[dict[str, Any]] = [
    {**PAIR, "mapping.pair": "rows", "array.active_rows": 30},
    {**PAIR, "mapping.pair": "arrays", "dac.mode": "pulse_count"},
    {"dac.mode": "bit_serial", "adc.range": "column", "adc.range_method": "percentile"},
    {"adc.gain_error": 0.03, "adc.offset_error_lsb": 2.0},
]


@pytest.mark.parametrize("keys", OTHERS, ids=["rows", "arrays", "bit_serial", "adc_errors"])
def test_every_layout_and_converter_recovers(tiny_model, inputs, keys) -> None:
    image = tiny(tiny_model, inputs[:64], **keys)
    device = ClosedDevice(image, 2)
    before = distance(image, device, inputs[128:])
    recovery = recover(image, device, Dataset.of(inputs[:128]), TINY)
    assert distance(recovery.image, device, inputs[128:]) < 0.4 * before


@pytest.mark.parametrize("forward", ["chip", "twin"])
def test_distilling_through_the_chip_or_the_twin(tiny_noisy, inputs, forward) -> None:
    options = replace(TINY, distill=replace(TINY.distill, forward=forward))
    device = ClosedDevice(tiny_noisy, 2)
    before = distance(tiny_noisy, device, inputs[128:])
    recovery = recover(tiny_noisy, device, Dataset.of(inputs[:128]), options)
    assert distance(recovery.image, device, inputs[128:]) < 0.4 * before


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_dynamic_ranges_and_both_tasks(tiny_model, inputs, task) -> None:
    image = tiny(tiny_model, None)
    device = ClosedDevice(image, 2)
    before = distance(image, device, inputs[128:])
    recovery = recover(image, device, Dataset.of(inputs[:128]), replace(TINY, task=task))
    assert distance(recovery.image, device, inputs[128:]) < 0.4 * before


def test_stuck_cells_and_dead_lines(tiny_model, inputs) -> None:
    faults = {
        "faults.stuck_gmin_rate": 0.04,
        "faults.stuck_gmax_rate": 0.02,
        "faults.dead_row_rate": 0.02,
        "faults.dead_col_rate": 0.02,
    }
    image = tiny(tiny_model, inputs[:64], **faults)
    device = ClosedDevice(image, 5)
    before = distance(image, device, inputs[128:])
    recovery = recover(image, device, Dataset.of(inputs[:128]), TINY)
    assert distance(recovery.image, device, inputs[128:]) < 0.7 * before


# --- repeatable, without labels -----------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_noisy(tiny_model, inputs) -> Image:
    return tiny(tiny_model, inputs[:64])


@pytest.fixture(scope="module")
def reference_run(tiny_noisy, inputs) -> Recovery:
    return recover(tiny_noisy, ClosedDevice(tiny_noisy, 2), Dataset.of(inputs[:128]), TINY)


def test_same_seed_same_bytes(tiny_noisy, inputs, reference_run) -> None:
    again = recover(tiny_noisy, ClosedDevice(tiny_noisy, 2), Dataset.of(inputs[:128]), TINY)
    assert again.image.to_bytes() == reference_run.image.to_bytes()
    np.testing.assert_array_equal(again.writes, reference_run.writes)
    assert [stage.loss for stage in again.stages] == [stage.loss for stage in reference_run.stages]


def test_another_seed_another_image(tiny_noisy, inputs, reference_run) -> None:
    options = replace(TINY, seed=1)
    other = recover(tiny_noisy, ClosedDevice(tiny_noisy, 2), Dataset.of(inputs[:128]), options)
    assert other.image.sha256 != reference_run.image.sha256


def test_labels_are_not_used(tiny_noisy, inputs, reference_run) -> None:
    labels = np.random.default_rng(0).integers(0, 4, 128)
    labelled = Dataset.of(inputs[:128], labels)
    found = recover(tiny_noisy, ClosedDevice(tiny_noisy, 2), labelled, TINY)
    assert found.image.to_bytes() == reference_run.image.to_bytes()


def test_a_capture_may_be_given_with_the_device(tiny_noisy, inputs) -> None:
    device = ClosedDevice(tiny_noisy, 2)
    data = Dataset.of(inputs[:128])
    captured = capture(Session(tiny_noisy, die=device), data, TINY.capture, outputs=False)
    before = distance(tiny_noisy, device, inputs[128:])
    recovery = recover(tiny_noisy, device, data, TINY, captured=captured)
    assert recovery.measured
    assert distance(recovery.image, device, inputs[128:]) < 0.4 * before


def test_a_capture_of_some_layers_is_enough_to_begin(tiny_noisy, inputs) -> None:
    device = ClosedDevice(tiny_noisy, 2)
    data = Dataset.of(inputs[:128])
    captured = capture(Session(tiny_noisy, die=device), data, TINY.capture, only=[1], outputs=False)
    recovery = recover(tiny_noisy, None, data, replace(TINY, rounds=1), captured=captured)
    assert recovery.cells_rewritten > 0


@pytest.mark.parametrize(
    ("changes", "writes"),
    [({"rounds": 0}, False), ({"budget": 0.0}, False), ({"rounds": 1, "budget": 0.02}, True)],
)
def test_how_much_may_be_rewritten(tiny_noisy, inputs, changes, writes) -> None:
    device = ClosedDevice(tiny_noisy, 2)
    options = replace(TINY, distill=replace(TINY.distill, epochs=0), **changes)
    recovery = recover(tiny_noisy, device, Dataset.of(inputs[:128]), options)
    assert (recovery.cells_rewritten > 0) == writes
    assert len(device.writes) <= options.budget * tiny_noisy.used.sum()
    assert recovery.stages[-1].loss < recovery.stages[0].loss
    assert sum(stage.kept for stage in recovery.stages) == 1


def test_rounds_share_the_budget(tiny_noisy, reference_run) -> None:
    budget = int(TINY.budget * tiny_noisy.used.sum())
    rounds = reference_run.writes[:, 3]
    assert (rounds == 1).sum() <= budget // 2
    assert len(rounds) <= budget
    assert set(rounds.tolist()) == {1, 2}


def test_a_long_epoch_that_gains_nothing_ends_distillation(tiny_noisy, inputs) -> None:
    """One of 16 steps; after shorter ones it goes on."""
    quiet = tiny_noisy.with_chip(tiny_noisy.chip.with_(**{"read_noise.relative": 0.0}))

    def epochs(batch_size: int) -> int:
        still = DistillOptions(epochs=5, batch_size=batch_size, learning_rate=0.0)
        options = replace(TINY, rounds=0, distill=still, holdout=0.5)
        device, data = ClosedDevice(quiet, 2), Dataset.of(inputs)
        stages = recover(quiet, device, data, options).stages
        return sum(stage.name.startswith("distilling") for stage in stages)

    assert (epochs(9), epochs(8)) == (TINY.patience, 1)


def test_long_epochs_do_not_begin_where_cells_are_as_good_as_perfect(tiny_noisy, inputs) -> None:
    perfect = with_perfect_cells(tiny_noisy)

    def distilled(batch_size: int) -> bool:
        options = replace(TINY, distill=DistillOptions(batch_size=batch_size), holdout=0.5)
        recovery = recover(perfect, ClosedDevice(perfect, 2), Dataset.of(inputs), options)
        return any(stage.name.startswith("distilling") for stage in recovery.stages)

    assert (distilled(8), distilled(9)) == (False, True)


def test_long_epochs_go_on_while_each_gains_clearly(tiny_noisy, inputs) -> None:
    """More than two standard errors of the difference to the best one before."""
    bold = DistillOptions(epochs=12, batch_size=4, learning_rate=1e-3)
    options = replace(TINY, rounds=0, distill=bold, holdout=0.5, calibrate_images=1)
    stages = recover(tiny_noisy, ClosedDevice(tiny_noisy, 2), Dataset.of(inputs), options).stages
    first = next(n for n, stage in enumerate(stages) if stage.name.startswith("distilling"))

    def gains(n: int) -> bool:
        least, error = min(stage.loss for stage in stages[:n]), stages[n].away_error
        assert error is not None
        return least - stages[n].loss > 2 * error

    *before, last = (gains(n) for n in range(first, len(stages)))
    assert all(before)
    assert not last
    assert before  # one sample leaves much to gain


@pytest.mark.parametrize(("rate", "after"), [(0.6, 1), (1e-4, 2)], ids=["loses", "by chance"])
def test_distillation_stops_where_it_no_longer_helps(tiny_noisy, inputs, rate, after) -> None:
    """After two epochs without a better one; at once where the die is clearly worse than it was."""
    slow = DistillOptions(epochs=40, batch_size=16, learning_rate=rate)
    options = replace(TINY, rounds=0, distill=slow, patience=2)
    device, data = ClosedDevice(tiny_noisy, 2), Dataset.of(inputs[:64])
    recovery = recover(tiny_noisy, device, data, options)
    epochs = [stage for stage in recovery.stages if stage.name.startswith("distilling")]
    kept = next(n for n, stage in enumerate(recovery.stages) if stage.kept)
    assert len(epochs) < 40
    assert sum(stage in epochs for stage in recovery.stages[kept + 1 :]) == after
    # The result is the state that was kept, not the last one.
    part = held_out_part(len(data), options.holdout)
    held_out, _ = data.split(part, np.random.default_rng(options.seed))
    loss = held_out_loss(recovery.image, device, held_out)
    assert loss == pytest.approx(recovery.stages[kept].loss, rel=0.3)
    assert (recovery.stages[-1].loss > 2 * loss) == (rate == 0.6)


# --- what is refused ----------------------------------------------------------------------------


def test_neither_chip_nor_capture(tiny_noisy, inputs) -> None:
    with pytest.raises(UsageError, match="neither a chip nor a capture"):
        recover(tiny_noisy, None, Dataset.of(inputs))


def test_a_capture_of_another_die(tiny_noisy, inputs) -> None:
    data = Dataset.of(inputs[:32])
    session = Session(tiny_noisy, die=Die.simulated(9))
    captured = capture(session, data, CaptureOptions(16, 1), outputs=False)
    device = ClosedDevice(tiny_noisy, 2)
    with pytest.raises(CaptureError, match="sim:9") as caught:
        recover(tiny_noisy, device, data, captured=captured)
    assert caught.value.where == "sim:2"
    assert (device.reads, device.writes) == (0, [])


def test_too_few_samples(tiny_noisy, inputs) -> None:
    device = ClosedDevice(tiny_noisy, 2)
    with pytest.raises(DataError, match="too few") as caught:
        recover(tiny_noisy, device, Dataset.of(inputs[: MIN_SAMPLES - 1], name="few.npz"))
    assert caught.value.where == "few.npz"
    assert (device.reads, device.writes) == (0, [])
    least = replace(TINY, rounds=1, capture=CaptureOptions(32, 1))
    assert recover(tiny_noisy, device, Dataset.of(inputs[:MIN_SAMPLES]), least).measured


def test_an_image_without_teacher(tiny_model, inputs) -> None:
    chip = Chip.default().with_array(64, 32)
    image = compile_model(
        tiny_model(), chip, calib=inputs[:32], options=Options(teacher=False, feedback=False)
    )
    device = ClosedDevice(image, 2)
    with pytest.raises(ImageError, match="no float weights") as caught:
        recover(image, device, Dataset.of(inputs))
    assert "--no-teacher" in (caught.value.hint or "")
    assert (device.reads, device.writes) == (0, [])


def test_a_network_that_no_gradient_passes_is_refused_before_any_write() -> None:
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {
        "w1": rng.standard_normal((6, 12)).astype(np.float32),
        "w2": rng.standard_normal((12, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Floor", ["h"], ["d"]),
        helper.make_node("MatMul", ["d", "w2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "rounded",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = rng.standard_normal((64, 6)).astype(np.float32)
    image = compile_model(model, Chip.default().with_array(16, 8), calib=x)
    device = ClosedDevice(image, 2)
    with pytest.raises(ModelError, match="Floor"):
        recover(image, device, Dataset.of(x), TINY)
    assert device.writes == []


def test_a_chip_that_refuses_writes(tiny_noisy, inputs) -> None:
    class Refuses(ClosedDevice):
        def program(self, cells: np.ndarray, levels: np.ndarray) -> np.ndarray:
            return np.zeros(len(cells), np.bool_)

    device = Refuses(tiny_noisy, 2)
    assert isinstance(device, Device)
    with pytest.raises(DeviceError, match=r"not one of .* cells could be written"):
        recover(tiny_noisy, device, Dataset.of(inputs[:64]), TINY)


def held_out_loss(image: Image, device: Any, data: Dataset) -> float:
    (wanted,) = float_session(image).run(None, {"x": data.all()})
    (found,) = Session(image, die=device).run(None, {"x": data.all()})
    teacher = torch.from_numpy(wanted)
    return float(Goal.of("classification", [teacher]).loss([torch.from_numpy(found)], [teacher]))


def test_the_first_stage_is_the_loss_on_held_out_data(tiny_noisy, inputs, reference_run) -> None:
    part = held_out_part(128, TINY.holdout)
    held_out, _ = Dataset.of(inputs[:128]).split(part, np.random.default_rng(TINY.seed))
    loss = held_out_loss(tiny_noisy, Die.simulated(2), held_out)
    assert reference_run.stages[0].loss == pytest.approx(loss, rel=0.1)


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("train", [("gain", "bias"), ("gain", "bias", "levels")])
def test_no_cell_is_written_more_often_than_it_endures(
    counts: bool, train: Any, tiny_model, inputs
) -> None:
    image = tiny(tiny_model, inputs[:128], **{"programming.endurance_writes": 2})
    device: Any = ClosedDevice(image, 3)
    if counts:
        device = SimDevice(Die.simulated(3), image.chip, image.arrays, read_seed=3)
        program(image, device)
    options = replace(TINY, budget=1.0, rounds=3, train=train)
    found = recover(image, device, Dataset.of(inputs[:128]), options)
    # Programming is one of the two, where the chip can tell.
    times = np.bincount(found.writes[:, 0])
    assert len(found.writes) > 20
    assert times.max() == (1 if counts else 2)
    plain = recover(
        tiny(tiny_model, inputs[:128]), ClosedDevice(image, 3), Dataset.of(inputs[:128]), options
    )
    assert np.bincount(plain.writes[:, 0]).max() > times.max()


def test_a_strategy_that_writes_all_cells_is_refused_on_a_worn_die(tiny_model, inputs) -> None:
    image = tiny(tiny_model, inputs[:128], **{"programming.endurance_writes": 1})
    device = SimDevice(Die.simulated(3), image.chip, image.arrays, read_seed=3)
    program(image, device)
    cells = int(image.used.sum())
    with pytest.raises(DeviceError, match=f": {cells} of {cells} cells .* 1 write,"):
        recover(image, device, Dataset.of(inputs[:128]), TINY, strategy="full-rewrite")
    # Where nothing endures a write, the digital side is all that changes.
    found = recover(image, device, Dataset.of(inputs[:128]), TINY)
    assert len(found.writes) == 0
