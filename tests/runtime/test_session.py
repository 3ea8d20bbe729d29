"""A session that is run often, from several threads and in forked processes.

``PIMC_RUNS=2000 pytest tests/runtime/test_session.py`` takes so many runs; CONTRIBUTING.md says
more.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session

RUNS = int(os.environ.get("PIMC_RUNS", "200"))
#: Runs for which memory may not grow, and bytes that count as growth.
LASTING, GROWTH_BYTES = RUNS * 5 // 2, 12 << 20
THREADS = 8
NOISELESS = {"read_noise.relative": 0.0}


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Else reads take no threads of their own."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def quiet_image(tiny_image: Image) -> Image:
    """The tiny network on a chip whose reads are free of noise, so that runs do not differ."""
    return tiny_image.with_chip(tiny_image.chip.with_(**NOISELESS))


@pytest.fixture
def inputs() -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [rng.standard_normal((n, 2, 8, 8)).astype(np.float32) for n in (1, 2, 3, 5, 8, 13)]


def outputs(session: Session, x: np.ndarray) -> np.ndarray:
    (y,) = session.run(None, {"x": x})
    return y


def shared_out(work: Callable[[int], np.ndarray], count: int) -> list[np.ndarray]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(count)))


@pytest.mark.parametrize("die", [None, Die.simulated(3)], ids=["ideal", "die"])
def test_runs_of_one_session_from_several_threads_give_what_they_give_in_turn(
    quiet_image: Image, inputs: list[np.ndarray], die: Die | None
) -> None:
    session = Session(quiet_image, die=die)
    wanted = [outputs(session, x) for x in inputs]
    found = shared_out(lambda n: outputs(session, inputs[n % len(inputs)]), RUNS)
    for number, y in enumerate(found):
        np.testing.assert_array_equal(y, wanted[number % len(inputs)])


def test_sessions_of_several_threads_give_what_they_give_in_turn(
    tiny_image: Image, inputs: list[np.ndarray]
) -> None:
    """Each has a die and noise of its own; image and network are shared."""
    first = Session(tiny_image, die=Die.simulated(0))

    def all_of(seed: int) -> np.ndarray:
        session = first.with_die(Die.simulated(seed), seed=seed)
        rounds = max(1, RUNS // THREADS // len(inputs))
        return np.concatenate([outputs(session, x) for x in inputs * rounds])

    wanted = [all_of(seed) for seed in range(THREADS)]
    for y, other in zip(shared_out(all_of, THREADS), wanted, strict=True):
        np.testing.assert_array_equal(y, other)


def forked(work: Callable[[], bool]) -> None:
    """Do something in a forked process; it must be done, and true, in half a minute."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the forked process hangs")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_session_runs_in_a_forked_process_too(
    quiet_image: Image, inputs: list[np.ndarray]
) -> None:
    session = Session(quiet_image, die=Die.simulated(3))
    wanted = [outputs(session, x) for x in inputs]

    def same() -> bool:
        return all(
            np.array_equal(outputs(session, x), y) for x, y in zip(inputs, wanted, strict=True)
        )

    forked(same)
    with ThreadPoolExecutor(2) as pool:  # forked while others read
        running = [pool.submit(outputs, session, inputs[-1]) for _ in range(20)]
        forked(same)
        assert all(np.array_equal(each.result(), wanted[-1]) for each in running)
    assert same()


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


#: What makes the banks of cells anew while they are read, which takes long.
CHANGING = {"disturb.tau0_s": 1e3, "disturb.every_samples": 8, "read_noise.rtn_share": 0.1}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("changes", "first", "then"),
    [({}, 60, LASTING), (CHANGING, 12, max(12, LASTING // 50))],
    ids=["plain", "changing"],
)
def test_many_runs_take_no_more_memory_than_a_few(
    tiny_image: Image, inputs: list[np.ndarray], changes: dict[str, float], first: int, then: int
) -> None:
    chip = tiny_image.chip.with_(**changes)
    session = Session(tiny_image.with_chip(chip), die=Die.simulated(3))
    for number in range(first):
        outputs(session, inputs[number % len(inputs)])
    before = resident_bytes()
    for number in range(then):
        outputs(session, inputs[number % len(inputs)])
    assert resident_bytes() - before < GROWTH_BYTES
