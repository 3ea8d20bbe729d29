"""Progress of long work: library code reports it through a callback and never prints."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

Item = TypeVar("Item")

__all__ = [
    "Beat",
    "Loop",
    "Progress",
    "listening",
    "progress",
    "silent",
    "ticking",
    "track",
    "waiting",
]

#: Seconds from line to line where stderr is no terminal; of long work a share of what it took.
_EVERY_S, _SHARE, _MOST_S = 5.0, 0.05, 60.0


class Progress(Protocol):
    """Passes the items of ``iterable`` on and reports how many have been done."""

    def __call__(
        self, iterable: Iterable[Item], description: str, total: int | None = None
    ) -> Iterable[Item]:
        """Items of ``iterable``; ``total`` is their number where ``len`` does not tell it."""
        ...


def silent(iterable: Iterable[Item], description: str, total: int | None = None) -> Iterable[Item]:
    """No report: what library code takes by default."""
    return iterable


def progress(*, quiet: bool = False) -> Progress:
    """The report for a person: bars on stderr if that is a terminal, else none."""
    return silent if quiet or not sys.stderr.isatty() else track


_listener: Callable[[str], None] | None = None


def waiting(text: str) -> None:
    """Tell whoever listens what is waited for, where no progress of it can be reported."""
    if _listener is not None:
        _listener(text)


@contextmanager
def listening(*, quiet: bool = False, tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """What is waited for is told on stderr if that is a terminal, or by ``tell``."""
    global _listener
    before = _listener
    if not quiet and (tell is not None or sys.stderr.isatty()):
        _listener = tell or _told
    try:
        yield
    finally:
        _listener = before


def _told(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def ticking(report: Progress, description: str, total: int) -> Iterator[Callable[[], None]]:
    """Progress of work that is no loop: gives the function to call after each of the parts."""
    steps = iter(report(range(total), description, total))

    def tick() -> None:
        next(steps, None)

    tick()  # the first part begins
    try:
        yield tick
    finally:
        if isinstance(steps, Generator):
            steps.close()


def track(iterable: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """A bar on stderr that vanishes when the work is done; bars may be nested."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        yield from bars.track(iterable, total=total, description=description)


@dataclass
class Loop:
    """How far a loop is.

    Attributes:
        total: how many items there are; None where nobody knows.
    """

    description: str
    total: int | None
    done: int = 0

    def __str__(self) -> str:
        of = "" if self.total is None else f" of {self.total:,}"
        return f"{self.description} {self.done:,}{of}"


class Beat:
    """Tells from time to time how far work is, where a bar cannot be shown.

    The first time after five seconds; of long work each time after a twentieth of what it took so
    far, a minute at most. ``PIMC_LOG_EVERY`` sets other seconds for all of them.

    Args:
        tell: is called with the loops that run, the outermost first, and the seconds so far.
    """

    def __init__(self, tell: Callable[[Sequence[Loop], float], None]) -> None:
        self._tell = tell
        self._loops: list[Loop] = []
        self._start = time.monotonic()
        self._over = threading.Event()

    def track(
        self, iterable: Iterable[Item], description: str, total: int | None = None
    ) -> Iterator[Item]:
        """The items of a loop that is told of."""
        if total is None and isinstance(iterable, Sized):
            total = len(iterable)
        loop = Loop(description, total)
        self._loops.append(loop)
        try:
            for item in iterable:
                yield item
                loop.done += 1
        finally:
            self._loops[:] = [one for one in self._loops if one is not loop]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Tell while this lasts."""
        thread = threading.Thread(target=self._beat, name="pimc-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _beat(self) -> None:
        fixed = _seconds(os.environ.get("PIMC_LOG_EVERY", ""))
        while True:
            took = time.monotonic() - self._start
            pause = min(max(_EVERY_S, _SHARE * took), _MOST_S) if fixed is None else fixed
            if self._over.wait(pause):
                return
            self._tell(tuple(self._loops), time.monotonic() - self._start)


def _seconds(text: str) -> float | None:
    """A number of seconds above 0; None for anything else."""
    try:
        found = float(text)
    except ValueError:
        return None
    return found if 0 < found < threading.TIMEOUT_MAX else None
