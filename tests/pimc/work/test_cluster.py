"""Tasks on a real Dask cluster: a scheduler and two workers, started here."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pimc.data.dataset import Dataset
from pimc.errors import DataError, WorkerError
from pimc.functions.recover_dies import recover_dies
from pimc.image.image import Image
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.train.distill import DistillOptions
from pimc.runtime.die.die import Die
from pimc.runtime.door.drivers import open_device, require_programmed
from pimc.runtime.session import Session
from pimc.studies.evaluate import Batches, float_session
from pimc.studies.montecarlo import measure_dies
from pimc.studies.recoveries.one_die import DieJob, Recovered
from pimc.work import cluster
from pimc.work.cluster import Cluster
from pimc.work.pool import Here, completed, open_pool

HOST = "127.0.0.1"


@dataclass
class Processes:
    """A scheduler and its workers; all of them are ended by their ids."""

    folder: Path
    running: list[subprocess.Popen[bytes]]
    address: str = ""

    def start(self, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", f"distributed.cli.dask_{command}", *arguments]
        process = subprocess.Popen(
            [*line, "--host", HOST, "--no-dashboard"],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.running.append(process)
        return process

    def start_worker(self) -> subprocess.Popen[bytes]:
        return self.start("worker", self.address, "--no-nanny", "--nthreads", "1")

    def end(self) -> None:
        for process in self.running:
            process.kill()
        for process in self.running:
            process.wait()


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """A scheduler on a port of its choice, with two workers."""
    started = Processes(tmp_path_factory.mktemp("dask"), [])
    try:
        file = started.folder / "scheduler.json"
        started.start("scheduler", "--port", "0", "--scheduler-file", str(file))
        deadline = time.monotonic() + 60
        while not file.exists() or not file.read_text().strip():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        started.address = json.loads(file.read_text())["address"]
        started.start_worker()
        started.start_worker()
        with Cluster(started.address) as pool:
            pool._client.wait_for_workers(2, timeout=60)
        yield started
    finally:
        started.end()


def test_results_and_errors_come_back_and_values_are_shared(processes) -> None:
    def look(values: np.ndarray, factor: int) -> tuple[float, int, int]:
        import torch

        time.sleep(0.02)
        return float(values.sum()) * factor, os.getpid(), torch.get_num_threads()

    def refuse(x: int) -> int:
        raise DataError("no good", where=f"sample {x}")

    with open_pool(cluster=processes.address) as pool:
        shared = pool.share(np.ones(1000))
        results = dict(completed(pool, look, ((n, (shared, n)) for n in range(20))))
        assert {n: value for n, (value, _, _) in results.items()} == {
            n: 1000.0 * n for n in range(20)
        }
        assert len({pid for _, pid, _ in results.values()}) == 2
        assert {threads for *_, threads in results.values()} == {1}
        with pytest.raises(DataError, match="sample 3: no good"):
            list(completed(pool, refuse, [("a", (3,))]))


def test_dies_on_a_cluster_are_those_of_this_process(processes, tiny_image, tiny_inputs) -> None:
    batches = Batches(Dataset.of(tiny_inputs, np.arange(64) % 4), 16)
    wanted = [trial.accuracy for trial in measure_dies(tiny_image, batches, range(6))]
    with Cluster(processes.address) as pool:
        trials = measure_dies(tiny_image, batches, range(6), pool=pool)
    assert [trial.accuracy for trial in trials] == wanted
    assert [trial.die for trial in trials] == [f"sim:{seed}" for seed in range(6)]
    assert len(set(wanted)) > 1


@pytest.mark.parametrize("killed", [1, 2], ids=["one", "all"])
def test_a_killed_worker_loses_nothing(processes, killed) -> None:
    def slow(values: np.ndarray, x: int) -> float:
        time.sleep(0.1)
        return float(values.sum()) * x

    with Cluster(processes.address) as pool:
        pool._client.wait_for_workers(2, timeout=60)
        shared = pool.share(np.ones(10))
        results = completed(pool, slow, ((n, (shared, n)) for n in range(24)))
        found = dict([next(results)])
        for victim in [p for p in processes.running[1:] if p.poll() is None][:killed]:
            victim.kill()
            victim.wait()
            processes.start_worker()
        found |= dict(results)
    assert found == {n: 10.0 * n for n in range(24)}


def test_dies_recovered_on_a_cluster_of_which_a_worker_is_killed(
    processes, noisy, tmp_path
) -> None:
    inputs = np.random.default_rng(3).standard_normal((64, 2, 8, 8)).astype(np.float32)
    labels = float_session(noisy).run(None, {"x": inputs})[0].argmax(axis=1)
    held = [tmp_path / f"w{seed}.die" for seed in range(900, 905)]
    tables: list[bytes] = []
    for number, killing in enumerate((None, processes)):
        for seed, path in zip(range(900, 905), held, strict=True):
            die = Die.simulated(seed)
            Session(noisy, die=die)
            die.save(path)
        victims = [p for p in processes.running[1:] if p.poll() is None][:1]

        def keep(job: DieJob, done: Recovered, killing=killing, victims=victims) -> None:
            done.recovery.image.save(job.output)
            if killing is not None and victims:
                victims.pop().kill()
                processes.start_worker()

        found = recover_dies(
            noisy,
            inputs,
            Dataset.of(inputs, labels),
            dies=held,
            options=RecoverOptions(rounds=1, distill=DistillOptions(epochs=0)),
            output=tmp_path / "next.pimc",
            table=tmp_path / f"{number}.csv",
            keep=keep,
            pool=Here if killing is None else lambda: Cluster(processes.address),
        )
        assert found.failed == {}
        assert not victims or killing is None
        tables.append((tmp_path / f"{number}.csv").read_bytes())
        for row, path in zip(found.rows, held, strict=True):
            require_programmed(Image.load(row["output"]), open_device("sim", noisy, die=path))
    assert tables[0] == tables[1]


def test_no_scheduler_and_no_workers_are_one_sentence_each(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 1.0)
    with socket.socket() as free:
        free.bind((HOST, 0))
        nobody = f"tcp://{HOST}:{free.getsockname()[1]}"
    for address in (nobody, "no address", "foo://bar:1", ""):
        with pytest.raises(WorkerError, match="no Dask scheduler answers"):
            Cluster(address)
    alone = Processes(tmp_path, [])
    try:
        file = tmp_path / "scheduler.json"
        alone.start("scheduler", "--port", "0", "--scheduler-file", str(file))
        deadline = time.monotonic() + 60
        while not file.exists() or not file.read_text().strip():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        monkeypatch.setattr(cluster, "CONNECT_S", 2.0)
        with pytest.raises(WorkerError, match="has no workers"):
            Cluster(json.loads(file.read_text())["address"])
    finally:
        alone.end()
