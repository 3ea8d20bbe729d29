"""Two processes at one file: each does all of its work, or says that it did none."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import pytest

from pimc.errors import DeviceError, UsageError
from pimc.files.writing.alone import alone
from pimc.runtime.die.die import Die
from tests.kills.conftest import Whole
from tests.kills.jobs import JOBS
from tests.kills.warm import Ended, Warm

AGE = JOBS["age"].words
BUSY = ("another process is at work", "another process wrote it")


def succeeded(ended: list[Ended], code: int) -> list[bool]:
    """Who did its work; whoever did not says why."""
    for one in ended:
        assert one.code in (0, code), one.err
        assert one.code == 0 or any(word in one.err for word in BUSY), one.err
    done = [one.code == 0 for one in ended]
    assert any(done)
    return done


@pytest.mark.parametrize("turn", range(3))
def test_two_agings_of_a_die_both_count(
    warm: Warm, wholes: Mapping[str, Whole], tmp_path: Path, turn: int
) -> None:
    folder = wholes["age"].folder(tmp_path / "files")
    done = succeeded(warm.race(folder, AGE, AGE), 3)
    assert Die.load(folder / "held.die").clock_s == 3600 * sum(done)
    assert {path.name for path in folder.iterdir()} == wholes["age"].after


@pytest.mark.parametrize("turn", range(2))
def test_two_programmings_of_a_die_make_the_die_of_one(
    warm: Warm, wholes: Mapping[str, Whole], tmp_path: Path, turn: int
) -> None:
    whole = wholes["program"]
    folder = whole.folder(tmp_path / "files")
    succeeded(warm.race(folder, whole.job.words, whole.job.words), 3)
    assert whole.done_in(folder)
    assert {path.name for path in folder.iterdir()} == whole.after


def test_what_reads_did_to_a_die_undoes_no_aging(
    warm: Warm, wholes: Mapping[str, Whole], tmp_path: Path
) -> None:
    folder = wholes["age"].folder(tmp_path / "files")
    _, aged = succeeded(warm.race(folder, JOBS["capture"].words, AGE), 3)
    assert Die.load(folder / "held.die").clock_s == 3600 * aged


def test_two_compilations_to_one_file_leave_one_of_them_whole(
    warm: Warm, wholes: Mapping[str, Whole], tmp_path: Path
) -> None:
    whole = wholes["compile"]
    folder = whole.folder(tmp_path / "files")
    ended = warm.race(folder, whole.job.words, whole.job.words)
    assert [one.code for one in ended] == [0, 0], ended
    assert whole.done_in(folder)
    assert {path.name for path in folder.iterdir()} == whole.after


def test_of_two_sweeps_at_one_file_no_row_is_lost(
    warm: Warm, wholes: Mapping[str, Whole], tmp_path: Path
) -> None:
    folder = wholes["age"].folder(tmp_path / "files")
    commands = [
        [word.replace("levels=4,16", f"levels={levels}") for word in JOBS["sweep"].words]
        for levels in (4, 16)
    ]
    done = succeeded(warm.race(folder, *commands), 2)
    with (folder / "s.csv").open(newline="") as stream:
        levels = {int(row["levels"]) for row in csv.DictReader(stream)}
    assert levels == {n for n, ok in zip((4, 16), done, strict=True) if ok}


def test_commands_that_change_a_file_ask_for_it(
    warm: Warm, wholes: Mapping[str, Whole], tmp_path: Path
) -> None:
    folder = wholes["age"].folder(tmp_path / "files")
    names = {"program": "new.die", "age": "held.die", "recover": "held.die", "sweep": "s.csv"}
    for name, file in names.items():
        error = UsageError if name == "sweep" else DeviceError
        with alone(folder / file, error):
            ended = warm.run(folder, *JOBS[name].words)
        assert ended.code == error.exit_code
        assert "another process is at work on it" in ended.err
    assert {path.name for path in folder.iterdir()} == wholes["age"].after
