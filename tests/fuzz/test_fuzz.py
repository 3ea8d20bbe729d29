"""Readers take a file or refuse it in one sentence, whatever was done to it.

``PIMC_FUZZ=100000 pytest tests/fuzz`` makes so many mutations of every kind; CONTRIBUTING.md says
more.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest

from tests.fuzz.oracle import fuzz, mutation, summary
from tests.fuzz.targets import TARGETS, target_named

COUNT = int(os.environ.get("PIMC_FUZZ", "100"))
SEED = int(os.environ.get("PIMC_FUZZ_SEED", "0"))
#: Wrong content under right hashes: see test_resealed.py.
RESEALED = {("image", "resealed"), ("die", "resealed"), ("checkpoint", "resealed")}
ALL = [(name, kind) for name, kinds in TARGETS.items() for kind in kinds]


@pytest.mark.parametrize(("name", "kind"), [case for case in ALL if case not in RESEALED])
def test_no_finding(name: str, kind: str, tmp_path: Path) -> None:
    tally = fuzz(target_named(name), kind, range(COUNT), SEED, tmp_path / "files")
    assert not tally.findings, summary(tally.findings)
    assert tally.ran == COUNT
    assert tally.refused, "nothing of what was done is noticed"


@pytest.mark.parametrize("name", TARGETS)
def test_samples_are_sound(name: str, tmp_path: Path) -> None:
    """Else all that is made of them would be refused for what is wrong with the samples."""
    target = target_named(name)
    for number, sample in enumerate(target.samples):
        folder = tmp_path / str(number)
        for path, content in {**target.beside, target.file: sample}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        target.read(folder / target.file)


def test_a_mutation_depends_on_its_number_and_seed_alone() -> None:
    target = target_named("npy")
    found = [mutation(target, "raw", 3, number) for number in range(20)]
    assert found == [mutation(target, "raw", 3, number) for number in range(20)]
    assert len(set(map(zlib.crc32, found))) > 15
    assert mutation(target, "raw", 4, 0) != found[0] or mutation(target, "raw", 4, 1) != found[1]
