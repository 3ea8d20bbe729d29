"""Commands that are cut at any moment go on to the same end, and leave no half of anything.

``PIMC_KILLS=300 pytest tests/kills`` cuts so many in all; CONTRIBUTING.md says more.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from pimc.files.writing.atomic import remove_leftovers
from tests.kills.conftest import Whole
from tests.kills.faults import Fault
from tests.kills.jobs import JOBS
from tests.kills.warm import Ended, Warm

#: Cuts of each kind in all, shared out by how long the commands take.
CUTS = int(os.environ.get("PIMC_KILLS", "10"))
SEED = int(os.environ.get("PIMC_KILLS_SEED", "0"))
_SHARES: Mapping[str, float] = {
    "compile": 0.15, "program": 0.25, "capture": 0.15, "recover": 0.1, "dies": 0.1, "sweep": 0.1,
    "age": 0.15,
}  # fmt: skip
SLOW = ("recover", "dies", "sweep")
#: What a cut command leaves so that it can be gone on from.
RESUMED = frozenset(
    {
        "new.die.journal", "new.recovery", "s.csv.journal", "new.dies.csv.journal",
        "new.held.recovery", "new.two.recovery",
    }
)  # fmt: skip
TERMINATED = 128 + signal.SIGTERM


CASES = [
    pytest.param(name, cut, id=f"{name}-{cut}")
    for name, share in _SHARES.items()
    for cut in range(max(1, round(CUTS * share)))
]


def cut_off(warm: Warm, whole: Whole, folder: Path, number: int, cut: int) -> Ended:
    """The job, cut by a signal: by turns at a step of writing and at a moment."""
    rng = Random(f"{SEED} {number} {cut} {whole.job.words}")
    if cut % 2 == 0:
        fault = Fault(rng.randrange(whole.ended.steps), number)
        return warm.run(folder, *whole.job.words, fault=fault)
    after_s = rng.uniform(0, whole.ended.seconds)
    return warm.run(folder, *whole.job.words, after_s=after_s, number=number)


def taken_up(warm: Warm, whole: Whole, folder: Path) -> None:
    """After a cut the same command ends as if there had been none."""
    whole.sound_in(folder)
    names = {path.name for path in folder.iterdir()}
    if RESUMED & names or whole.after - names or not whole.done_in(folder):
        ended = warm.run(folder, *(whole.job.again or whole.job.words))
        assert ended.code == 0, ended.err
    assert whole.done_in(folder)
    remove_leftovers(folder)  # what the next that writes there does
    assert frozenset(path.name for path in folder.iterdir()) == whole.after


@pytest.mark.parametrize(("name", "cut"), CASES)
def test_a_killed_command_goes_on_to_the_same_end(
    name: str, cut: int, warm: Warm, wholes: Mapping[str, Whole], tmp_path: Path
) -> None:
    whole = wholes[name]
    folder = whole.folder(tmp_path / "files")
    ended = cut_off(warm, whole, folder, signal.SIGKILL, cut)
    assert ended.code in (0, -signal.SIGKILL), ended.err
    taken_up(warm, whole, folder)


@pytest.mark.parametrize(("name", "cut"), CASES)
def test_a_terminated_command_ends_tidily(
    name: str, cut: int, warm: Warm, wholes: Mapping[str, Whole], tmp_path: Path
) -> None:
    whole = wholes[name]
    folder = whole.folder(tmp_path / "files")
    ended = cut_off(warm, whole, folder, signal.SIGTERM, cut)
    assert ended.code in (0, TERMINATED, -signal.SIGTERM), ended.err
    if ended.code == TERMINATED:
        assert ended.err.strip().splitlines()[-1].startswith("error: terminated")
        assert "Traceback" not in ended.err
    left = {path.name for path in folder.iterdir()}
    assert not left - whole.after - RESUMED, "left behind"
    taken_up(warm, whole, folder)


@pytest.mark.parametrize("name", JOBS)
def test_a_full_disk_is_told_and_leaves_what_was_there(
    name: str, warm: Warm, wholes: Mapping[str, Whole], tmp_path: Path
) -> None:
    """At every step of writing where so many are asked for, else at some of them."""
    whole = wholes[name]
    steps = list(range(whole.ended.steps))
    if "PIMC_KILLS" not in os.environ:
        steps = sorted(Random(f"{SEED} {name}").sample(steps, 1 if name in SLOW else 4))
    for step in steps:
        folder = whole.folder(tmp_path / f"{step}")
        ended = warm.run(folder, *whole.job.words, fault=Fault(step))
        whole.sound_in(folder)
        left = {path.name for path in folder.iterdir()}
        assert not left - whole.after - RESUMED, f"left behind at step {step}"
        if ended.code != 0:
            assert ended.code == 2, ended.err
            message = ended.err.strip().splitlines()[-2:]
            assert message[0].startswith("error: "), ended.err
            assert "No space left on device" in message[0]
            assert any(word in message[0] for word in ("new.", "held.", "s.")), "which file"
        taken_up(warm, whole, folder)
