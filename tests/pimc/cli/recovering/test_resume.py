"""``pimc recover`` that is cut and goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pimc.files.writing.atomic import sha256_file
from pimc.passes.recover.bench.checkpoint import Checkpoint

#: A few epochs on few images.
QUICK = ("--epochs", "1", "--rounds", "2")
RECOVER = ("recover", "--calib", "data", "--die", "chip.die", *QUICK)


@pytest.fixture
def job(recovery_job: Path) -> Path:
    return recovery_job


def timeless(found: dict[str, bytes]) -> dict[str, Any]:
    """Contents without what tells how it was called and how long it took."""
    report = json.loads(found["tiny.r1.report.json"])
    del report["seconds"], report["command_line"]
    for stage in report["stages"]:
        del stage["seconds"]
    return {**found, "tiny.r1.report.json": report}


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def interrupted(*arguments: Any, **options: Any) -> None:
    raise KeyboardInterrupt


def test_after_ctrl_c_resume_ends_as_if_nothing_had_been(pimc, job, monkeypatch) -> None:
    from pimc.passes.recover.steps import training as steps

    arguments = ("recover", "--calib", "data", "--die", "chip.die", *QUICK)
    die = Path("chip.die").read_bytes()
    assert pimc(*arguments).code == 0
    expected = timeless(contents(job))
    Path("chip.die").write_bytes(die)
    for name in names(job):
        if ".r1." in name:
            Path(name).unlink()

    before = {name: sha256_file(name) for name in names(job) if name != "data"}
    with monkeypatch.context() as patch:
        patch.setattr(steps, "distill", interrupted)
        done = pimc(*arguments)
    assert done.code == 130
    assert "go on with --resume" in done.err
    held = {name: sha256_file(name) for name in names(job) if name != "data"}
    assert held.pop("tiny.r1.recovery")
    assert held == before
    assert pimc(*arguments, "--resume").code == 0
    assert timeless(contents(job)) == expected


def test_resume_refuses_another_job(pimc, job, monkeypatch) -> None:
    from pimc.passes.recover.steps import training as steps

    arguments = ("recover", "--calib", "data", "--die", "chip.die", *QUICK)
    with monkeypatch.context() as patch:
        patch.setattr(steps, "distill", interrupted)
        pimc(*arguments)
    done = pimc(*arguments, "--budget", "5", "--resume")
    assert done.code == 2
    assert "another recovery: options" in done.err
    assert Path("tiny.r1.recovery").exists()


def test_it_goes_on_under_another_budget(pimc, job, monkeypatch) -> None:
    """Of states that lie in several files."""
    from pimc.passes.recover.bench import parts
    from pimc.passes.recover.steps import training as steps

    arguments, die = ("recover", "--calib", "data", "--die", "chip.die", *QUICK), Path("chip.die")
    held = die.read_bytes()
    whole = pimc(*arguments, "--memory", "6G")
    assert (whole.code, "memory: 6.0 GiB at most\n" in whole.err) == (0, True)
    expected = timeless(contents(job))
    die.write_bytes(held)
    for name in names(job):
        if ".r1." in name:
            Path(name).unlink()
    monkeypatch.setattr(parts, "_LARGE_BYTES", 1 << 10)
    with monkeypatch.context() as patch:
        patch.setattr(steps, "distill", interrupted)
        assert pimc(*arguments, "--memory", "3G").code == 130
    assert [name for name in names(job) if name.endswith(".part")]
    assert pimc(*arguments, "--memory", "2G", "--resume").code == 0
    assert timeless(contents(job)) == expected


def test_too_little_memory_is_refused(pimc, job) -> None:
    before = contents(job)
    done = pimc("recover", "--calib", "data", "--die", "chip.die", *QUICK, "--memory", "20M")
    assert done.code == 2
    assert "20 MiB are too little: a recovery of this network needs" in done.err
    assert "give --memory" in done.err
    assert contents(job) == before
    assert pimc("recover", "--calib", "data", "--memory", "much").code == 2


@pytest.mark.parametrize("several", [(), ("--dies", 1)])
def test_what_a_run_could_not_go_on_with_another_goes_on_with(
    pimc, job, monkeypatch, several
) -> None:
    """A state that was cut before any cell was written stays where the memory is too little."""
    from pimc.passes.recover.bench import parts

    monkeypatch.setattr(parts, "_LARGE_BYTES", 1 << 10)
    dies = several or ("--die", "chip.die")
    arguments = ("recover", "tiny.pimc", "--calib", "data", *dies, *QUICK)
    saves: list[int] = []
    save = Checkpoint.save

    def first_alone(self: Checkpoint, *given: Any) -> None:
        save(self, *given)
        saves.append(1)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", first_alone)
        assert pimc(*arguments).code == 130
    assert saves == [1]
    held = {n: sha256_file(n) for n in names(job) if ".recovery" in n}
    assert len(held) > 1
    done = pimc(*arguments, "--memory", "20M", "--resume")
    assert (done.code, "too little" in done.err) == (2, True), done.err
    assert {n: sha256_file(n) for n in names(job) if ".recovery" in n} == held
    # A part that is gone is told with what can be done.
    part = next(Path(n) for n in held if n.endswith(".part"))
    content = part.read_bytes()
    part.unlink()
    done = pimc(*arguments, "--resume")
    assert (done.code, part.name in done.err) == (2, True), done.err
    assert "recover without --resume to start again" in done.err
    part.write_bytes(content)
    assert pimc(*arguments, "--resume").code == 0
    assert not [n for n in names(job) if ".recovery" in n]


@pytest.mark.parametrize("command", ["capture", "recover"])
@pytest.mark.parametrize("when", range(4))
def test_ctrl_c_while_writing_leaves_no_half_file(
    pimc, job, noisy, monkeypatch, when, command
) -> None:
    """Interrupted at each of the files in turn, just before it is complete."""
    monkeypatch.setattr(Checkpoint, "save", lambda *arguments: None)
    arguments = (command, "--calib", "data", "--die", "chip.die", *QUICK * (command == "recover"))
    start = contents(job)
    assert pimc(*arguments).code == 0
    whole = contents(job)
    for name in whole:
        (job / name).unlink()
    for name, content in start.items():
        (job / name).write_bytes(content)
    done_before: list[int] = []
    original = os.fsync

    def cut(handle: int) -> None:
        if len(done_before) == when:
            raise KeyboardInterrupt
        done_before.append(handle)
        original(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", cut)
        done = pimc(*arguments)
    assert done.code == (130 if len(whole) - len(start) + (command == "recover") > when else 0)
    found = contents(job)
    assert found.keys() <= whole.keys()
    for name, content in found.items():
        if name.endswith(".report.json"):  # times differ
            assert json.loads(content).keys() == json.loads(whole[name]).keys()
        else:
            assert content in (start.get(name), whole[name])


def test_of_several_dies_those_that_are_done_are_not_done_again(pimc, job, monkeypatch) -> None:
    from pimc.passes.recover.steps import training as steps

    arguments = ("recover", "tiny.pimc", "--calib", "data", "--dies", 2, "--seed", 3, *QUICK)
    assert pimc(*arguments).code == 0
    expected = {name: sha256_file(name) for name in names(job) if name.endswith((".pimc", ".die"))}
    for name in names(job):
        if ".r1." in name:
            Path(name).unlink()
    counts: list[int] = []
    distill = vars(steps)["distill"]

    def second_cut(*given: Any, **options: Any) -> None:
        counts.append(1)
        if len(counts) == 2:
            raise KeyboardInterrupt
        distill(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(steps, "distill", second_cut)
        assert pimc(*arguments).code == 130
        # What was done stands in the journal of the table.
        assert [name for name in names(job) if name.endswith((".recovery", ".journal"))] == [
            "tiny.r1.die4.recovery", "tiny.r1.dies.csv.journal",
        ]  # fmt: skip
        assert pimc(*arguments, "--resume").code == 0
    assert len(counts) == 3
    assert {
        name: sha256_file(name) for name in names(job) if name.endswith((".pimc", ".die"))
    } == expected
    assert not [name for name in names(job) if name.endswith((".recovery", ".journal"))]
