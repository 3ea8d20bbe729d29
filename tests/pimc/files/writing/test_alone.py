"""One process at a time at a file, and nothing in the way of the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from pimc.errors import DeviceError, UsageError
from pimc.files.writing.alone import alone
from pimc.files.writing.atomic import remove_leftovers, write_whole

HOLDER = """
import sys
from pathlib import Path
from pimc.errors import DeviceError
from pimc.files.writing.alone import alone
with alone(Path(sys.argv[1]), DeviceError):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that is at work on ``a.die``."""
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path / "a.die")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()


def test_the_second_is_refused_and_the_first_leaves_nothing(tmp_path: Path, holder) -> None:
    refused = pytest.raises(DeviceError, match="another process is at work")
    with refused as caught, alone(tmp_path / "a.die", DeviceError):
        pass
    assert caught.value.where == str(tmp_path / "a.die")
    with alone(tmp_path / "b.die", DeviceError):
        pass
    holder.communicate("")
    with alone(tmp_path / "a.die", DeviceError):
        assert len(os.listdir(tmp_path)) == 1
    assert os.listdir(tmp_path) == []


def test_a_killed_process_is_in_nobodys_way(tmp_path: Path, holder) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert len(os.listdir(tmp_path)) == 1
    with alone(tmp_path / "a.die", DeviceError):
        pass
    assert os.listdir(tmp_path) == []


def test_who_writes_beside_it_removes_only_what_nobody_holds(tmp_path: Path, holder) -> None:
    write_whole(tmp_path / "b.die", lambda stream: stream.write(b"x"))
    with pytest.raises(DeviceError), alone(tmp_path / "a.die", DeviceError):
        pass
    holder.kill()
    holder.wait()
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["b.die"]


def test_links_to_one_file_are_one_file(tmp_path: Path, holder) -> None:
    (tmp_path / "a.die").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a.die")
    with pytest.raises(UsageError), alone(tmp_path / "link", UsageError):
        pass


@pytest.mark.parametrize("path", [lambda f: None, lambda f: f / "no" / "a", lambda f: f / "a\0b"])
def test_where_nothing_can_be_locked_nothing_is(
    tmp_path: Path, path: Callable[[Path], Path | None]
) -> None:
    """Who writes there says what is wrong with it."""
    with alone(path(tmp_path), DeviceError):
        pass
    assert os.listdir(tmp_path) == []


def test_who_has_it_may_ask_again(tmp_path: Path) -> None:
    with alone(tmp_path / "a.die", DeviceError):
        with alone(tmp_path / "a.die", DeviceError):
            pass
        assert len(os.listdir(tmp_path)) == 1
    assert os.listdir(tmp_path) == []
