"""What a device reads does not depend on how its inputs are cut into batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pimc.chip.design import Chip
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session

CHIP = (
    Chip.default()
    .with_array(16, 8)
    .with_(
        **{
            "read_noise.relative": 0.0,
            "read_noise.rtn_share": 0.5,
            "read_noise.rtn_amplitude": 0.5,
            "read_noise.rtn_dwell_samples": 6,
            "disturb.tau0_s": 1e-3,
            "disturb.every_samples": 4,
            "array.wire_ohm": 5.0,
            "cell.iv_alpha": 1.5,
        }
    )
)
LAYERS = [
    Region("a", np.arange(64).reshape(1, 8, 8), 2.0, True),
    Region("b", np.arange(64, 128).reshape(1, 8, 8), 2.0, True),
]


def device_of(chip: Chip = CHIP, **options: Any) -> SimDevice:
    device = SimDevice(Die.simulated(1), chip, 1, **options)
    device.program(np.arange(128), (np.arange(128) % 16).astype(np.uint16))
    return device


def samples(count: int = 23) -> torch.Tensor:
    rng = np.random.default_rng(5)
    return torch.from_numpy(rng.integers(-127, 128, (count, 1, 8, 3))).float()


def run(device: SimDevice, sizes: list[int], order: tuple[int, ...] = (0, 1)) -> list[Any]:
    """Codes of both layers; every batch goes through one after the other, in this order."""
    found: list[Any] = [[], []]
    for part in samples(sum(sizes)).split(sizes):
        for layer in order:
            found[layer].append(device.read(LAYERS[layer], part))
    return [torch.cat(parts) for parts in found]


@pytest.mark.parametrize("sizes", [[1] * 23, [7, 7, 7, 2], [4, 12, 1, 6], [20, 3]])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_batches_and_order_change_nothing(sizes: list[int], order: tuple[int, ...]) -> None:
    whole, parts = device_of(), device_of()
    expected, found = run(whole, [23]), run(parts, sizes, order)
    for left, right in zip(expected, found, strict=True):
        assert torch.equal(left, right)
    assert np.array_equal(whole.die.cells.stress, parts.die.cells.stress)
    assert whole.reads == parts.reads


def test_what_changes_does_so_when_it_should_and_only_then() -> None:
    one = samples(1).expand(12, -1, -1, -1)
    codes = device_of().read(LAYERS[0], one)
    # Disturb every 4 samples, traps every 6.
    changed = [n for n in range(1, 12) if (codes[n] != codes[n - 1]).any()]
    assert changed == [4, 6, 8]


def test_an_empty_batch_is_read_as_nothing() -> None:
    assert device_of().read(LAYERS[0], samples(1)[:0]).shape == (0, 1, 8, 3)


def test_another_session_goes_on_where_the_last_one_stopped() -> None:
    chip = CHIP.with_(**{"read_noise.relative": 0.05, "disturb.tau0_s": 0.0})
    one, two = device_of(chip), device_of(chip)
    again = Region("a", LAYERS[0].cells.copy(), LAYERS[0].lsb_us, LAYERS[0].signed)
    expected = [one.read(LAYERS[0], part) for part in samples(10).split(5)]
    halves = samples(10).split(5)
    assert torch.equal(two.read(LAYERS[0], halves[0]), expected[0])
    assert torch.equal(two.read(again, halves[1]), expected[1])
    assert not torch.equal(two.read(again, samples(5)), two.read(again, samples(5)))


@pytest.mark.parametrize("seen", [5, 8, 9, 12])
def test_another_session_finds_what_this_one_would_have_read(seen: int) -> None:
    """In the midst of a period, too, during which what reads did so far stays out of account."""
    one, two = device_of(), device_of()
    again = Region("a", LAYERS[0].cells.copy(), LAYERS[0].lsb_us, LAYERS[0].signed)
    parts = samples(seen + 10).split([seen, 10])
    assert torch.equal(one.read(LAYERS[0], parts[0]), two.read(LAYERS[0], parts[0]))
    assert torch.equal(one.read(LAYERS[0], parts[1]), two.read(again, parts[1]))


def test_disturb_does_not_start_again_with_another_session() -> None:
    device = device_of(CHIP.with_(**{"read_noise.rtn_share": 0.0, "disturb.every_samples": 1}))
    codes = []
    for _ in range(3):
        where = Region("a", LAYERS[0].cells.copy(), LAYERS[0].lsb_us, LAYERS[0].signed)
        codes += [device.read(where, samples(1)) for _ in range(4)]
    drift = [float((found - codes[0]).abs().sum()) for found in codes]
    assert drift == sorted(drift)
    assert drift[-1] > drift[3] > 0


@pytest.mark.parametrize("event", ["none", "written", "aged"])
@pytest.mark.parametrize("seen", [0, 9])
def test_a_device_that_is_taken_back_reads_as_it_would_have(seen: int, event: str) -> None:
    """All that later reads depend on is in its state: the same device, or one made anew."""
    device = device_of(CHIP.with_(**{"read_noise.relative": 0.05}))
    if seen:
        run(device, [seen])
    if event == "written":
        device.program(np.arange(10), np.full(10, 3, np.uint16))
    if event == "aged":
        device.die.age(100.0)
    state = {name: value.copy() for name, value in device.state().items()}
    wanted = run(device, [13])
    anew = device_of(CHIP.with_(**{"read_noise.relative": 0.05}))
    for other in (device, anew):
        other.restore(state)
        for found, expected in zip(run(other, [5, 8]), wanted, strict=True):
            assert torch.equal(found, expected)
    assert np.array_equal(device.die.cells.stress, anew.die.cells.stress)
    assert device.reads == anew.reads


def test_read_seeds_draw_other_states_of_the_same_traps() -> None:
    chip = CHIP.with_(**{"disturb.tau0_s": 0.0})
    first, same, other = (run(device_of(chip, read_seed=s), [12])[0] for s in (1, 1, 2))
    assert torch.equal(first, same)
    assert (first != other).any()


def test_a_network_does_not_depend_on_batches(tiny_image: Any, tiny_inputs: Any) -> None:
    """Drivers without negative voltages read twice a sample, which still counts as one."""
    chip = tiny_image.chip.with_(
        **{
            "read_noise.relative": 0.0,
            "read_noise.rtn_share": 0.5,
            "read_noise.rtn_amplitude": 0.5,
            "read_noise.rtn_dwell_samples": 3,
            "disturb.tau0_s": 1e-3,
            "disturb.every_samples": 3,
            "dac.signed": False,
        }
    )
    image = tiny_image.updated(chip=chip.to_dict())

    def outputs(size: int) -> Any:
        session = Session(image, die=Die.simulated(3))
        parts = [tiny_inputs[start : start + size] for start in range(0, 12, size)]
        return np.concatenate([session.run(None, {"x": part})[0] for part in parts])

    expected = outputs(12)
    for size in (1, 5):
        assert np.allclose(outputs(size)[:12], expected, rtol=0, atol=1e-5)
