"""Noise of one read tells nothing of another's, and does not depend on how reads are arranged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import kstest, norm

from pimc.chip.design import Chip
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from tests.runtime.samples import BOUND

Array64 = npt.NDArray[np.float64]

ROWS, COLS, BLOCKS = 8, 6, 2
IMAGES, POSITIONS = 200, 512
CHIP = Chip.default().with_array(ROWS, COLS).with_(**{"read_noise.relative": 0.05})
#: Without a reference column, all columns are independent.
APART = CHIP.with_(**{"mapping.pedestal": "digital"})


def region(name: str, array: int = 0) -> Region:
    """All cells of one array: two blocks of four wordlines."""
    cells = array * ROWS * COLS + np.arange(ROWS * COLS).reshape(BLOCKS, ROWS // BLOCKS, COLS)
    return Region(name, cells, 1.0, signed=True)


def device_of(chip: Chip, *, read_seed: int = 1, converters: bool = False) -> SimDevice:
    """A device of two arrays, all cells in mid-range."""
    device = SimDevice(Die.simulated(2), chip, 2, read_seed=read_seed, converters=converters)
    cells = np.arange(2 * ROWS * COLS)
    device.program(cells, np.full(len(cells), chip.cell.levels // 2, np.uint16))
    return device


def drive(images: int, positions: int) -> torch.Tensor:
    """The same DAC codes again and again: (images, blocks, rows, positions)."""
    codes = torch.tensor([[90.0, -30.0, 120.0, 60.0], [-70.0, 110.0, 40.0, -100.0]])
    return codes[None, :, :, None].expand(images, -1, -1, positions)


@pytest.fixture(scope="module")
def noise() -> Array64:
    """(calls, images, blocks, columns, positions) noise of two calls, of unit variance."""
    device, where = device_of(APART), region("a")
    reads = torch.stack([device.read(where, drive(IMAGES, POSITIONS)) for _ in range(2)])
    values = reads.numpy().astype(np.float64)
    centred = values - values.mean(axis=(0, 1, 4), keepdims=True)
    return np.asarray(centred / centred.std(axis=(0, 1, 4), keepdims=True))


def lagged(values: Array64, axis: int, lag: int) -> tuple[Array64, Array64]:
    """Values and those ``lag`` further along an axis."""
    size = values.shape[axis]
    first, second = np.arange(size - lag), np.arange(lag, size)
    return values.take(first, axis=axis), values.take(second, axis=axis)


#: Axis and distance of reads that must have nothing in common; draws may be made in groups of
#: two, eight, sixteen or sixty-four.
LAGS = {
    "call": [(0, 1)],
    "image": [(1, 1), (1, 2), (1, 64)],
    "block": [(2, 1)],
    "column": [(3, lag) for lag in range(1, COLS)],
    "position": [(4, lag) for lag in (1, 2, 3, 4, 8, 16, 32, 64, 256)],
}


@pytest.mark.parametrize("what", LAGS)
def test_reads_have_nothing_in_common(noise: Array64, what: str) -> None:
    for axis, lag in LAGS[what]:
        one, two = (values.reshape(-1) for values in lagged(noise, axis, lag))
        for name, of in (("value", np.array), ("size", np.square)):
            for other, of_other in (("value", np.array), ("size", np.square)):
                found = np.corrcoef(of(one), of_other(two))[0, 1]
                assert abs(found) < BOUND / len(one) ** 0.5, f"lag {lag}: {name} and {other}"


def test_noise_is_normal_to_its_tails(noise: Array64) -> None:
    values = noise.reshape(-1)
    assert kstest(values, "norm").pvalue > 2 * norm.sf(BOUND)
    for sigmas in (3.0, 4.0, 4.5):
        for side in (-1, 1):
            share, expected = np.mean(side * values > sigmas), norm.sf(sigmas)
            assert abs(share - expected) < BOUND * (expected / len(values)) ** 0.5
    assert np.abs(values).max() > 4.75


def test_columns_of_one_read_share_their_reference_and_nothing_else() -> None:
    device, where = device_of(CHIP), region("a")
    reads = device.read(where, drive(IMAGES, POSITIONS)).numpy().astype(np.float64)
    values = reads.transpose(1, 2, 0, 3).reshape(BLOCKS, COLS, -1)
    for block in values:
        found = np.atleast_2d(np.corrcoef(block))
        # All cells hold about what the reference column's hold: half of the variance is shared.
        shared = found[~np.eye(COLS, dtype=bool)]
        assert ((shared > 0.3) & (shared < 0.7)).all()
    across = np.atleast_2d(np.corrcoef(values.reshape(BLOCKS * COLS, -1)))[:COLS, COLS:]
    assert np.abs(across).max() < BOUND / values.shape[2] ** 0.5


# --- how reads are arranged --------------------------------------------------------------------


def pieces(total: int, size: int) -> Iterator[slice]:
    """Slices of ``size``, the last one shorter."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


@pytest.mark.parametrize("size", [1, 5, 8])
def test_a_read_does_not_depend_on_the_batch(size: int) -> None:
    inputs = drive(13, 9)
    whole = device_of(CHIP, converters=True).read(region("a"), inputs)
    device, where = device_of(CHIP, converters=True), region("a")
    parts = [device.read(where, inputs[piece]) for piece in pieces(len(inputs), size)]
    assert torch.equal(torch.cat(parts), whole)


def test_a_read_does_not_depend_on_what_was_read_before_elsewhere() -> None:
    inputs = drive(5, 9)
    found = []
    for order in ("ab", "ba", "bba"):
        device = device_of(CHIP, converters=True)
        regions = {"a": region("a"), "b": region("b", 1)}
        first: dict[str, torch.Tensor] = {}
        for name in order:
            first.setdefault(name, device.read(regions[name], inputs))
        found.append(first)
    for other in found[1:]:
        assert all(torch.equal(other[name], found[0][name]) for name in "ab")
    assert not torch.equal(found[0]["a"], found[0]["b"])


@pytest.mark.parametrize("size", [1, 7])
def test_outputs_do_not_depend_on_the_batch(
    tiny_image: Image, tiny_inputs: npt.NDArray[np.float32], size: int
) -> None:
    run = _runner(tiny_image)
    (whole,) = run(tiny_inputs[:16])
    run = _runner(tiny_image)
    parts = [run(tiny_inputs[:16][piece])[0] for piece in pieces(16, size)]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads; it is as before afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_outputs_do_not_depend_on_the_threads(
    tiny_image: Image,
    tiny_inputs: npt.NDArray[np.float32],
    threads: Callable[[int], None],
) -> None:
    outputs = []
    for count in (1, 2, 3):
        threads(count)
        outputs.append(_runner(tiny_image)(tiny_inputs)[0])
    assert all(np.array_equal(other, outputs[0]) for other in outputs[1:])


def test_another_seed_gives_other_noise(
    tiny_image: Image, tiny_inputs: npt.NDArray[np.float32]
) -> None:
    one, two = (_runner(tiny_image, seed)(tiny_inputs)[0] for seed in (1, 2))
    assert not np.array_equal(one, two)


def _runner(
    image: Image, seed: int = 0
) -> Callable[[npt.NDArray[np.float32]], list[npt.NDArray[np.float32]]]:
    session = Session(image, die=Die.simulated(4), seed=seed)
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})
