"""Foreign code: its exceptions become one sentence, and what it prints goes to stderr."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from contextlib import redirect_stdout

import pytest

from pimc.errors import DeviceError, UsageError
from pimc.runtime.door.foreign import AnswerError, Calls, on_stderr, said

LOUD = """
import ctypes, os, subprocess, sys
from pimc.runtime.door.foreign import on_stderr
libc = ctypes.CDLL(None)
print("first")
with on_stderr():
    print("python")
    sys.__stdout__.write("past python\\n")
    os.write(1, b"descriptor\\n")
    libc.puts(b"c library")
    with on_stderr():
        print("inner")
    print("outer")
    subprocess.run(["echo", "child"])
print("last")
libc.puts(b"c at the end")
"""


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


# --- exceptions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (OSError("no bench"), "no bench"),
        (RuntimeError("\n  one line\nand another"), "one line"),
        (TimeoutError(), "TimeoutError"),
        (SystemExit(3), "SystemExit"),
        (UnspeakableError(), "UnspeakableError"),
    ],
)
def test_what_an_exception_says(cause: BaseException, text: str) -> None:
    assert said(cause) == text


def test_a_call_that_fails_names_driver_and_call() -> None:
    with pytest.raises(DeviceError) as caught, Calls("lab")("read"):
        raise OSError(5, "no bench")
    assert str(caught.value).startswith("driver lab: read: OSError: [Errno 5] no bench")
    assert caught.value.exit_code == 3
    assert isinstance(caught.value.__context__, OSError)  # which PIMC_DEBUG shows
    with pytest.raises(DeviceError, match="driver lab: read: gave nothing"), Calls("lab")("read"):
        raise AnswerError("gave nothing")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DeviceError("gone"), UsageError("no")])
def test_errors_that_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, Calls("lab")("save", UsageError):
        raise error
    assert caught.value is error


def test_errors_that_pass_do_so_where_the_call_may_raise_them() -> None:
    with pytest.raises(DeviceError, match="read: UsageError: no"), Calls("lab")("read"):
        raise UsageError("no")


# --- prints ------------------------------------------------------------------------------------


def test_whatever_is_printed_goes_to_stderr() -> None:
    done = subprocess.run([sys.executable, "-c", LOUD], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["first", "last", "c at the end", ""]
    told = ["python", "past python", "descriptor", "c library", "inner", "outer", "child"]
    assert sorted(done.stderr.split("\n")[:-1]) == sorted(told)


@pytest.mark.parametrize("closed", ["1", "2", "1 2"])
def test_a_closed_descriptor_is_no_trouble(closed: str) -> None:
    code = f"""
import os, sys
for number in "{closed}".split():
    os.close(int(number))
from pimc.runtime.door.foreign import on_stderr
with on_stderr():
    pass
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_stdout_is_back_afterwards_also_after_an_error() -> None:
    out = io.StringIO()

    @on_stderr()
    def fails() -> None:
        print("within")
        raise OSError("gone")

    with redirect_stdout(out):
        with pytest.raises(OSError, match="gone"):
            fails()
        print("after")
    assert out.getvalue() == "after\n"


def test_blocks_of_several_threads_overlap() -> None:
    """The second begins before the first ends, and ends after it."""
    out, first_in, second_in, first_out = io.StringIO(), *(threading.Event() for _ in range(3))

    def second() -> None:
        first_in.wait(10)
        with on_stderr():
            second_in.set()
            first_out.wait(10)
            print("second")

    with redirect_stdout(out):
        thread = threading.Thread(target=second)
        thread.start()
        with on_stderr():
            first_in.set()
            second_in.wait(10)
        first_out.set()
        thread.join()
        print("after")
    assert out.getvalue() == "after\n"
