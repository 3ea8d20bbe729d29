"""Sizes as they are written, what a machine and its control group leave, and what has room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pimc.errors import UsageError
from pimc.work import memory as module
from pimc.work.memory import UNLIMITED, Memory, bytes_of, machine_bytes, size_text, taken_bytes


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4G", 4 << 30), ("512M", 512 << 20), ("1.5g", 3 << 29), (" 64 KiB ", 64 << 10),
        ("2TB", 2 << 40), (4096, 4096), ("4096", 4096),
    ],
)  # fmt: skip
def test_sizes_are_read(text: int | str, count: int) -> None:
    assert bytes_of(text) == count


@pytest.mark.parametrize("text", ["", "0", "-1G", "4X", "G", "nan", "1e9", True, 0, -5, "0.1"])
def test_what_is_no_size_is_refused(text: int | str) -> None:
    with pytest.raises(UsageError, match="is no size") as caught:
        bytes_of(text)
    assert caught.value.hint == "give one such as 512M or 4G"


def test_sizes_are_told_shortly() -> None:
    assert size_text(3 << 29) == "1.5 GiB"
    assert size_text(512 << 20) == "512 MiB"


@pytest.mark.parametrize(
    ("lines", "files", "limit"),
    [
        ("0::/a/b\n", {"a/memory.max": "max\n", "a/b/memory.max": "1048576\n"}, 1 << 20),
        ("0::/a/b\n", {"a/memory.max": "65536\n", "a/b/memory.max": "1048576\n"}, 1 << 16),
        ("0::/\n", {"memory.max": "max\n"}, None),
        # In a container the path may be that of the machine outside.
        ("0::/docker/7\n", {"memory.max": "131072\n"}, 1 << 17),
        ("4:memory:/x\n1:cpu:/\n", {"memory/x/memory.limit_in_bytes": "262144\n"}, 1 << 18),
        ("4:memory:/x\n", {"memory/x/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("", {}, None),
    ],
)
def test_the_limit_of_the_control_group_counts(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    lines: str,
    files: dict[str, str],
    limit: int | None,
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(module, "_OWN_CGROUP", tmp_path / "none")
    monkeypatch.setattr(module, "_CGROUPS", tmp_path)
    physical = machine_bytes()
    (tmp_path / "own").write_text(lines)
    monkeypatch.setattr(module, "_OWN_CGROUP", tmp_path / "own")
    assert machine_bytes() == (limit or physical)


def test_half_of_the_machine_is_shared_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "machine_bytes", lambda: 16 << 30)
    assert Memory.of(None) == Memory(8 << 30)
    assert Memory.of(None, 4) == Memory(2 << 30)
    assert Memory.of("1G", 2) == Memory(1 << 29)
    assert Memory.of(UNLIMITED, 2) == UNLIMITED
    assert str(Memory(8 << 30)) == "8.0 GiB"


def test_what_is_held_takes_room() -> None:
    before = taken_bytes()
    held = np.ones(64 << 20, np.uint8)
    assert taken_bytes() - before > 32 << 20
    assert not Memory(before).has_room(1)
    budget = Memory(taken_bytes() + (64 << 20))
    assert budget.has_room(1 << 20)
    assert not budget.has_room(256 << 20)
    assert not budget.less(60 << 20).has_room(32 << 20)
    del held


def test_too_little_is_refused_with_what_it_takes() -> None:
    Memory(taken_bytes() + (64 << 20)).require(1 << 20, "this step")
    UNLIMITED.require(1 << 60, "this step")
    Memory.of(None).require(1 << 60, "this step")  # nobody asked for it
    with pytest.raises(UsageError, match="1 MiB are too little: this step needs") as caught:
        Memory(1 << 20).require(1 << 30, "this step")
    assert caught.value.hint is not None
    assert bytes_of(caught.value.hint.split()[2]) >= taken_bytes() + (1 << 29)


def test_workers_are_told_what_all_of_them_need_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "taken_bytes", lambda: 100 << 20)
    with pytest.raises(UsageError) as caught:
        Memory.of("2G", 4).require(700 << 20, "this step")
    assert caught.value.message == (
        "512 MiB for each of 4 workers are too little: this step needs 800 MiB"
    )
    assert caught.value.hint == "give --memory 3200M or more, or fewer --jobs"


def test_what_is_left_of_what_nobody_asked_for_was_asked_for_by_nobody() -> None:
    Memory(1 << 20, asked=False).less(1 << 10).require(1 << 60, "this step")
