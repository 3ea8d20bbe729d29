"""Tasks in this process and in worker processes: results, shared values, death of workers."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import psutil
import pytest

from pimc.errors import DataError, UsageError, WorkerError
from pimc.work.pool import Here, completed, open_pool
from pimc.work.processes import Processes

# Functions are defined inside of tests, so that they travel whole: workers cannot import tests.


def worker_processes() -> list[psutil.Process]:
    """The worker processes of this process."""
    return [
        child
        for child in psutil.Process().children()
        if any("popen_loky" in part for part in child.cmdline())
    ]


def test_here_does_one_task_after_the_other_when_asked() -> None:
    taken: list[int] = []

    def tasks():
        for number in range(5):
            taken.append(number)
            yield number, (number,)

    results = completed(Here(), lambda x: x * x, tasks())
    assert next(results) == (0, 0)
    assert taken == [0]
    assert dict(results) == {1: 1, 2: 4, 3: 9, 4: 16}
    assert list(completed(Here(), abs, [])) == []


def test_what_a_task_raises_is_raised() -> None:
    def refuse(x: int) -> int:
        raise DataError("no good", where=f"sample {x}", hint="mend it")

    with pytest.raises(DataError, match="sample 3: no good"):
        list(completed(Here(), refuse, [("a", (3,))]))
    with Processes(1) as pool, pytest.raises(DataError, match=r"sample 3: no good \(mend it\)"):
        list(completed(pool, refuse, [("a", (3,))]))


def test_workers_map_what_they_share_and_share_the_cores() -> None:
    def look(values: np.ndarray, factor: int) -> tuple[float, bool, int, str]:
        values[0] = factor  # no other task may see it in its file
        threads = os.environ["OMP_NUM_THREADS"]
        return float(values.sum()), isinstance(values, np.memmap), os.getpid(), threads

    with Processes(1000) as pool:
        assert pool.workers == joblib.cpu_count()
        folder = Path(pool._folder.name)
        shared = pool.share(np.ones(1000))
        tasks = ((number, (shared, number)) for number in range(8))
        results = dict(completed(pool, look, tasks))
        assert [results[n][0] for n in range(8)] == [999.0 + n for n in range(8)]
        assert all(mapped for _, mapped, _, _ in results.values())
        assert os.getpid() not in {pid for *_, pid, _ in results.values()}
        assert {threads for *_, threads in results.values()} == {"1"}
        assert len(list(folder.iterdir())) == 1
        del shared, tasks
        assert list(folder.iterdir()) == []
    assert not folder.exists()


def test_a_killed_worker_loses_nothing() -> None:
    def slow(x: int) -> int:
        time.sleep(0.05)
        return x * x

    with Processes(2) as pool:
        results = completed(pool, slow, ((n, (n,)) for n in range(20)))
        found = dict([next(results)])
        victim = worker_processes()[0]
        victim.send_signal(signal.SIGKILL)
        found |= dict(results)
        assert found == {n: n * n for n in range(20)}
        assert victim.pid not in {worker.pid for worker in worker_processes()}
    assert worker_processes() == []


def test_a_task_that_kills_every_worker_is_given_up_after_a_while() -> None:
    def poison(x: int) -> int:
        if x == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    with Processes(2) as pool, pytest.raises(WorkerError, match="3 times in a row") as raised:
        list(completed(pool, poison, ((n, (n,)) for n in range(6))))
    assert "--jobs" in str(raised.value)
    assert raised.value.exit_code == 3
    assert worker_processes() == []


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    program = """
import os, sys, time
from pathlib import Path
from pimc.work.processes import Processes

def slow(name):
    Path(name).write_text(str(os.getpid()))
    time.sleep(60)

with Processes(2) as pool:
    for number in range(2):
        pool.submit(slow, sys.argv[1] + str(number))
    time.sleep(60)
"""
    files = [tmp_path / f"{number}" for number in range(2)]
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path) + "/"])
    try:
        until = time.monotonic() + 60
        while not all(file.exists() and file.read_text() for file in files):
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        parent.kill()
        parent.wait()
    workers = [int(file.read_text()) for file in files]
    until = time.monotonic() + 20
    while any(map(psutil.pid_exists, workers)):
        assert time.monotonic() < until, "workers outlive their parent"
        time.sleep(0.05)


def test_leaving_early_ends_the_workers_at_once() -> None:
    def forever(x: int) -> int:
        time.sleep(600)
        return x

    def quick(x: int) -> int:
        return x

    def leave() -> None:
        with Processes(2) as pool:
            assert dict(completed(pool, quick, [(1, (1,))])) == {1: 1}
            pool.submit(forever, 1)
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        leave()
    assert time.monotonic() - start < 60
    assert worker_processes() == []


def test_the_pool_that_was_asked_for() -> None:
    assert isinstance(open_pool(), Here)
    with open_pool(2) as pool:
        assert isinstance(pool, Processes)
        assert pool.workers * pool.threads <= joblib.cpu_count()
    with pytest.raises(UsageError, match="exclude each other"):
        open_pool(2, "tcp://127.0.0.1:1")


def test_errors_survive_the_way_back() -> None:
    error = WorkerError("gone", "here", "start it")
    again: Callable[..., object] = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "here: gone (start it)"
