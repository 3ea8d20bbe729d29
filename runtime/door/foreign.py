"""Code of others, such as a laboratory's driver: what becomes of its exceptions and prints.

Stdout is for what a command has to say, one JSON object with ``--json``. What foreign code writes
there goes to stderr while it runs.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from typing import NoReturn

from pimc.errors import DeviceError

__all__ = ["AnswerError", "Calls", "on_stderr", "said"]


class AnswerError(Exception):
    """An answer that cannot be taken; the text says what was given."""


@dataclass(frozen=True)
class Calls:
    """The calls of a driver: ``with calls("read"):`` around one of them.

    Attributes:
        driver: its name, under which it is installed.
    """

    driver: str

    @contextmanager
    def __call__(self, call: str, *allowed: type[Exception]) -> Iterator[None]:
        """Exceptions become a :class:`DeviceError` that names the driver and the call.

        Ctrl-C is left alone, and so are errors that the driver raises as the protocol says.

        Args:
            allowed: exceptions that this call may raise besides :class:`DeviceError`.

        Raises:
            DeviceError: the call failed, or its answer cannot be taken.
        """
        passing: tuple[type[BaseException], ...] = (KeyboardInterrupt, DeviceError, *allowed)
        try:
            with on_stderr():
                yield
        except passing:
            raise
        except AnswerError as wrong:
            self._fail(f"{call}: {wrong}", "docs/commands.md says what a driver must answer")
        except BaseException as cause:
            kind, text = type(cause).__name__, said(cause)
            told = kind if text == kind else f"{kind}: {text}"
            self._fail(f"{call}: {told}", "PIMC_DEBUG=1 shows where in the driver")

    def _fail(self, message: str, hint: str) -> NoReturn:
        # Not `from` the cause: a driver's MemoryError would pass for one of this process's own.
        raise DeviceError(message, where=f"driver {self.driver}", hint=hint)


def said(cause: BaseException) -> str:
    """The first line of what an exception says, or its class where it says nothing."""
    try:
        lines = "" if isinstance(cause, SystemExit) else str(cause).strip()
    except Exception:  # it is foreign, too
        lines = ""
    return lines.partition("\n")[0] or type(cause).__name__


@contextmanager
def on_stderr() -> Iterator[None]:
    """What is printed on stdout goes to stderr meanwhile, by Python and by libraries in C.

    That holds for the whole process, other threads included, until the last of the blocks that
    run at the same time ends.
    """
    _redirected.enter()
    try:
        yield
    finally:
        _redirected.leave()


class _Redirected:
    """Counts the blocks that run; the first turns stdout away, the last turns it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0
        self._back = ExitStack()

    def enter(self) -> None:
        with self._lock:
            if not self._blocks:
                self._back.enter_context(redirect_stdout(sys.stderr))
                self._back.enter_context(_descriptor_on_stderr())
            self._blocks += 1

    def leave(self) -> None:
        with self._lock:
            self._blocks -= 1
            if not self._blocks:
                self._back.close()


_redirected = _Redirected()


@contextmanager
def _descriptor_on_stderr() -> Iterator[None]:
    """The same for what is written past ``sys.stdout``."""
    with ExitStack() as back:
        # Where one of the two is closed there is nothing to be done.
        with suppress(OSError):
            kept = os.dup(1)
            back.callback(os.close, kept)
            _flush_stdout()  # what was ours before
            os.dup2(2, 1)
            back.callback(os.dup2, kept, 1)
            back.callback(_flush_stdout)
        yield


def _flush_stdout() -> None:
    """Empty the buffers of the first stdout, Python's and C's."""
    with suppress(OSError, ValueError):
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()
    _c_flush()()


@cache
def _c_flush() -> Callable[[], object]:
    """Empties the buffer of C's stdout, where that can be found."""
    try:
        library = ctypes.CDLL(None)
        name = "__stdoutp" if sys.platform == "darwin" else "stdout"
        stream, flush = ctypes.c_void_p.in_dll(library, name), library.fflush
    except (AttributeError, OSError, TypeError, ValueError):
        return lambda: None
    return lambda: flush(stream)
