"""Images, dies and checkpoints of wrong content under right hashes: refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.oracle import fuzz, summary
from tests.fuzz.targets import target_named
from tests.fuzz.test_fuzz import COUNT, RESEALED, SEED


@pytest.mark.parametrize(("name", "kind"), sorted(RESEALED))
def test_no_finding(name: str, kind: str, tmp_path: Path) -> None:
    tally = fuzz(target_named(name), kind, range(COUNT), SEED, tmp_path / "files")
    assert not tally.findings, summary(tally.findings)
    assert tally.refused, "nothing of what was done is noticed"
