"""``pimc recover`` that is cut and goes on, and one of a die that aged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.files.atomic import sha256_file
from pimc.passes.recover.bench.checkpoint import Checkpoint
from pimc.runtime.die.die import Die

#: A few epochs on few images.
QUICK = ("--epochs", "1", "--rounds", "2")
RECOVER = ("recover", "--calib", "data", "--die", "chip.die", *QUICK)


@pytest.fixture
def job(recovery_job: Path) -> Path:
    return recovery_job


def timeless(found: dict[str, bytes]) -> dict[str, Any]:
    """Contents without what tells how long it took."""
    report = json.loads(found["tiny.r1.report.json"])
    del report["seconds"]
    for stage in report["stages"]:
        del stage["seconds"]
    return {**found, "tiny.r1.report.json": report}


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def interrupted(*arguments: Any, **options: Any) -> None:
    raise KeyboardInterrupt


# --- Ctrl-C ------------------------------------------------------------------------------------


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
        assert [name for name in names(job) if name.endswith(".recovery")] == [
            "tiny.r1.die3.recovery", "tiny.r1.die4.recovery",
        ]  # fmt: skip
        assert pimc(*arguments, "--resume").code == 0
    assert len(counts) == 3
    assert {
        name: sha256_file(name) for name in names(job) if name.endswith((".pimc", ".die"))
    } == expected
    assert not [name for name in names(job) if name.endswith(".recovery")]


# --- a die that aged ---------------------------------------------------------------------------


@pytest.fixture
def recovered(pimc, job) -> dict[str, Any]:
    done = pimc(*RECOVER, "--data", "data", "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = done.json
    return found


SINCE = (
    "recover", "tiny.r1.pimc", "--calib", "data", "--die", "chip.die", *QUICK,
    "--since", "tiny.r1.report.json",
)  # fmt: skip


def test_a_die_that_did_not_change_is_left_as_it_is(pimc, job, recovered) -> None:
    done = pimc(*SINCE, "--json")
    assert done.code == 0, done.err
    (told,) = done.json["dies"]
    assert [stage["name"] for stage in told["stages"]] == ["as programmed"]
    assert told["cells_rewritten"] == 0


def test_what_gains_and_offsets_bring_back_needs_no_more(pimc, job, recovered) -> None:
    # All conductances fall by a tenth.
    die = Die.load("chip.die")
    die.cells.g_us *= np.float32(0.9)
    die.cells.reference_us *= np.float32(0.9)
    die.save("chip.die")
    (told,) = pimc(*SINCE, "--json").json["dies"]
    names = [stage["name"] for stage in told["stages"]]
    assert names == ["as programmed", "column gain and offset"]
    first, second = told["stages"]
    assert second["loss"] < 0.5 * first["loss"]
    assert second["kept"]


def test_cells_that_moved_are_written(pimc, job, recovered) -> None:
    die = Die.load("chip.die")
    rng = np.random.default_rng(0)
    die.cells.g_us += rng.normal(0, 6, die.cells.g_us.shape).astype(np.float32)
    die.save("chip.die")
    (told,) = pimc(*SINCE, "--json").json["dies"]
    assert told["cells_rewritten"] > 0
    assert told["findings"]["away_us"] > 5
    losses = [stage["loss"] for stage in told["stages"]]
    assert min(losses[2:]) < losses[1] < losses[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as a recovery's report"),
        ("nothing", "cannot be read as a recovery's report"),
        ("[]", "cannot be read as a recovery's report"),
        ('{"sha256": "0", "stages": []}', "cannot be read as a recovery's report"),
        ('{"sha256": "0", "stages": [{"kept": true, "loss": 1}]}', "of another image"),
    ],
)
def test_what_is_no_report_is_refused(pimc, job, content, message) -> None:
    if content is not None:
        Path("a.json").write_text(content)
    before = sha256_file("chip.die")
    done = pimc(*RECOVER, "--since", "a.json")
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert sha256_file("chip.die") == before


def test_a_capture_is_not_enough(pimc, job, recovered) -> None:
    assert pimc("capture", "tiny.r1.pimc", "--calib", "data", "--die", "chip.die", "-o",
                "data/a.pimccap").code == 0  # fmt: skip
    done = pimc("recover", "tiny.r1.pimc", "--calib", "data", "--since", "tiny.r1.report.json")
    assert done.code == 2
    assert "name the die with --die" in done.err


# --- options without effect --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "option"),
    [
        ("affine", ("--budget", "5")),
        ("none", ("--epochs", "2")),
        ("full-rewrite", ("--rounds", "1")),
        ("vat", ("--train", "gain")),
        ("residual", ("--budget", "10")),
        ("layerwise", ("--residual", "3")),
    ],
)
def test_an_option_that_a_strategy_has_no_use_for_is_refused(pimc, job, strategy, option) -> None:
    done = pimc("recover", "--calib", "data", "--die", "chip.die", "--strategy", strategy, *option)
    assert done.code == 2
    assert f"strategy {strategy}: {option[0]} would change nothing" in done.err
