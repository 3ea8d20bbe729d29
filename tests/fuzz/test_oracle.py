"""The oracle notices what a reader must not do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest

from pimc.errors import DataError, DeviceError
from tests.fuzz import oracle
from tests.fuzz.oracle import Tally, Target, fuzz


def _leaves(path: Path) -> None:
    (path.parent / "half.tmp").touch()


def _shouts(path: Path) -> None:
    raise DataError("no")


def _told(path: Path) -> None:
    np.asarray([1e300]).astype(np.float32)


def _large(path: Path) -> None:
    np.ones(oracle.MEMORY_BYTES // 4)


def _endless(path: Path) -> None:
    while True:
        pass


def _other_code(path: Path) -> None:
    raise DeviceError("no answer")


def _raises(path: Path) -> None:
    raise KeyError("levels")


def tally_of(read: Callable[[Path], None], folder: Path) -> Tally:
    def kept(rng: Random, data: bytes) -> bytes:
        return data

    codes = frozenset({2})
    target = Target("made", "a.bin", codes, [b"1"], {"kept": kept}, read, lambda path: ["ops"])
    return fuzz(target, "kept", range(2), 0, folder)


@pytest.mark.parametrize(
    ("read", "word"),
    [
        (_leaves, "left behind"), (_told, "RuntimeWarning"), (_large, "MemoryError"),
        (_endless, "more than"), (_other_code, "exit code 3"), (_raises, "KeyError"),
    ],
)  # fmt: skip
def test_findings(
    read: Callable[[Path], None], word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oracle, "TIME_S", 0.2)
    tally = tally_of(read, tmp_path / "files")
    assert [word in finding.what for finding in tally.findings] == [True, True]


def test_a_refusal_is_no_finding(tmp_path: Path) -> None:
    assert tally_of(_shouts, tmp_path / "files") == Tally(taken=0, refused=2)


def test_warnings_of_libraries_about_themselves_do_not_count(tmp_path: Path) -> None:
    def read(path: Path) -> None:
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    assert tally_of(read, tmp_path / "files") == Tally(taken=2, refused=0)
