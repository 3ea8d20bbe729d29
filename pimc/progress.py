"""Progress of long work: library code reports it through a callback and never prints."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Protocol, TypeVar

Item = TypeVar("Item")

__all__ = ["Progress", "listening", "progress", "silent", "ticking", "track", "waiting"]


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
def listening(*, quiet: bool = False) -> Iterator[None]:
    """What is waited for is told on stderr if that is a terminal."""
    global _listener
    before = _listener
    if not quiet and sys.stderr.isatty():
        _listener = _told
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
