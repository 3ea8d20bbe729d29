"""Fingerprints of files and folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pimc.project import hashes
from pimc.project.hashes import Hashes

OLD = 1_000_000_000


def old(path: Path, text: str) -> Path:
    """A file that was written long ago."""
    path.write_text(text)
    os.utime(path, (OLD, OLD))
    return path


def test_a_file_is_read_once_and_again_when_it_changes(here: Path, monkeypatch) -> None:
    reads: list[Path] = []
    real: Callable[[Path], str] = vars(hashes)["sha256_file"]

    def counted(path: Path) -> str:
        reads.append(path)
        return real(path)

    monkeypatch.setattr(hashes, "sha256_file", counted)
    path = old(here / "a.npy", "one")
    first = Hashes(here / "kept.json")
    one = first.file(path)
    first.save()
    assert Hashes(here / "kept.json").file(path) == one
    assert len(reads) == 1
    old(path, "three")
    assert Hashes(here / "kept.json").file(path) != one
    assert len(reads) == 2


def test_a_file_of_this_moment_is_read_again(here: Path) -> None:
    path = here / "a.npy"
    path.write_text("one")
    first = Hashes(here / "kept.json")
    first.file(path)
    first.save()
    assert not (here / "kept.json").exists()


def test_what_does_not_exist_has_none(here: Path) -> None:
    found = Hashes(here / "kept.json")
    assert (
        found.file(here / "a")
        is found.data(here / "a", "test", ())
        is found.model(here / "a")
        is None
    )


def test_a_damaged_store_is_begun_anew(here: Path) -> None:
    (here / "kept.json").write_text('{"x": 1')
    assert Hashes(here / "kept.json").file(old(here / "a", "x")) is not None


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("sub/b.png", True), ("data.toml", True), ("bench.pimccap", False), ("labels.txt", True),
        ("x.recovery", False), ("x.recovery.0123456789abcdef.part", False),
        ("pimc.toml", False), (".hidden", False), ("x.pimc", False), ("x.die", False),
        ("run.py", False), ("out.csv", False),
    ],
)  # fmt: skip
def test_what_counts_of_a_folder(here: Path, name: str, counts: bool) -> None:
    (here / "sub").mkdir()
    (here / "a.png").write_text("x")
    without = {(here / "out.csv").resolve()}
    before = Hashes(here / ".kept").data(here, "calib", without)
    (here / name).write_text("new")
    assert (Hashes(here / ".kept").data(here, "calib", without) != before) == counts


def test_an_archive_counts_with_its_settings_alone(here: Path) -> None:
    data = here / "calib.npz"
    data.write_text("x")
    before = Hashes(here / ".kept").data(data, "test", ())
    (here / "test.npz").write_text("y")
    assert Hashes(here / ".kept").data(data, "test", ()) == before
    (here / "data.toml").write_text("scale = 2")
    assert Hashes(here / ".kept").data(data, "test", ()) != before


def test_a_folder_of_archives_counts_with_the_one_that_is_meant(here: Path) -> None:
    for name in ("calib.npz", "test.npz"):
        (here / name).write_text("x")

    def now() -> tuple[str | None, str | None]:
        found = Hashes(here / ".kept")
        return found.data(here, "calib", ()), found.data(here, "test", ())

    calib, test = now()
    (here / "report.json").write_text("{}")
    assert now() == (calib, test)
    (here / "test.npz").write_text("y")
    assert now()[0] == calib
    assert now()[1] != test
    (here / "bench.pimccap").write_text("z")
    assert now()[0] == calib
