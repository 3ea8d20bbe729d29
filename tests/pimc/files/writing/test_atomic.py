"""Files are written whole or not at all; fingerprints depend on content alone."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from pimc.errors import UsageError
from pimc.files.writing.atomic import (
    replacing,
    sha256_array,
    sha256_file,
    write_whole,
)
from pimc.files.writing.journal import append_line


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    write_whole(path, lambda stream: stream.write(b"one"))
    assert path.read_bytes() == b"one"
    with replacing(path) as stream:
        stream.write(b"two")
        assert path.read_bytes() == b"one"
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["out.bin"]


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file_and_no_temporary(
    tmp_path: Path, failure: BaseException
) -> None:
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")

    def write(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise failure

    with pytest.raises(type(failure)):
        write_whole(path, write)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_full_disk_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match=r"out\.bin: .*No space.*free space"), replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_an_error_at_another_file_is_not_blamed_on_this_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "out.bin"):
        (tmp_path / "other").read_bytes()
    assert os.listdir(tmp_path) == []


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no/out\.bin: cannot be written.*make the folder"):
        write_whole(tmp_path / "no" / "out.bin", lambda stream: None)


def test_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot be written"):
        write_whole(tmp_path / "file" / "out.bin", lambda stream: None)


def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write anywhere")
        with pytest.raises(UsageError, match="may write"):
            write_whole(tmp_path / "out.bin", lambda stream: None)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("name", ["a" * 300, "b" * 300 + "/out.bin", "a\0b"])
def test_impossible_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write_whole(tmp_path / name, lambda stream: None)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exists(self: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", exists)  # root may search every folder
    with pytest.raises(UsageError, match=r"Permission denied.*may write"):
        write_whole(tmp_path / "out.bin", lambda stream: None)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_only_regular_files_are_replaced(tmp_path: Path, make: object) -> None:
    path = tmp_path / "out"
    make(path)  # type: ignore[operator]
    with pytest.raises(UsageError, match="not a regular file"):
        write_whole(path, lambda stream: stream.write(b"x"))
    assert path.exists()
    assert not path.is_file()


def test_mode_and_symbolic_link_survive(tmp_path: Path) -> None:
    path, link = tmp_path / "out", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_whole(link, lambda stream: stream.write(b"new"))
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640


def test_sha256_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc" * 1_000_000)
    assert sha256_file(path) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()
    with pytest.raises(UsageError, match="cannot be read"):
        sha256_file(tmp_path / "b")


def test_sha256_array_is_what_its_docstring_says() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert sha256_array(array) == hashlib.sha256(b"<f4 2,3\n" + array.tobytes()).hexdigest()


@pytest.mark.parametrize("dtype", ["u1", "<i2", "<f4", "<f8", "?"])
def test_sha256_array_depends_on_values_shape_and_dtype_only(dtype: str) -> None:
    array = (np.arange(24) % 5).astype(dtype).reshape(4, 6)
    same = sha256_array(array)
    assert sha256_array(np.asfortranarray(array)) == same
    assert sha256_array(array.astype(array.dtype.newbyteorder(">"))) == same
    assert sha256_array(array.reshape(6, 4)) != same
    assert sha256_array(array.astype("<c8")) != same
    changed = array.copy()
    changed[3, 5] = not changed[3, 5]
    assert sha256_array(changed) != same


def test_sha256_array_by_chunks() -> None:
    array = np.arange(700_001, dtype="<f8")[::2]
    expected = hashlib.sha256(b"<f8 350001\n" + array.tobytes()).hexdigest()
    assert sha256_array(array) == expected
    assert sha256_array(np.zeros((0, 3))) != sha256_array(np.zeros((3, 0)))


def test_sha256_array_refuses_objects() -> None:
    with pytest.raises(UsageError, match="objects"):
        sha256_array(np.array([None]))


# --- leftovers -------------------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from pimc.files.writing.atomic import replacing
with replacing(sys.argv[1]) as stream:
    stream.write(b"half")
    stream.flush()
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    print("writing", flush=True)
    sys.stdin.readline()
"""


def writer(path: Path, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _KILLED, str(path), how]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=path.parent
    )


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with writer(tmp_path / "one", "killed") as process:
        process.wait()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".one.")
    mine = tmp_path / ".notes.tmp"
    mine.write_bytes(b"not ours")
    write_whole(tmp_path / "two", lambda stream: stream.write(b"whole"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".notes.tmp", "two"]


def test_what_another_run_is_writing_stays(tmp_path: Path) -> None:
    with writer(tmp_path / "one", "slow") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        write_whole(tmp_path / "two", lambda stream: stream.write(b"whole"))
        process.communicate("go on\n")
    assert process.returncode == 0
    assert (tmp_path / "one").read_bytes() == b"half"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_journal_on_a_full_disk_is_named() -> None:
    with open("/dev/full", "wb", buffering=0) as stream, pytest.raises(UsageError) as caught:
        append_line(stream, {"array": 1})
    assert "/dev/full" in str(caught.value)
    assert "free space" in str(caught.value)
