"""Threads of the fused read beside torch's.

Torch's threads wait for their next piece of work by spinning for some milliseconds, and meanwhile
take the processors from all others. So while a network runs whose layers are read by threads of
our own, torch computes what lies between them on one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_lock = threading.Lock()
#: How many networks are running like that, and torch's number of threads before the first.
_running, _torch_threads = 0, 1


#: The largest number of threads of what runs now, where someone gave one.
_limit: ContextVar[int | None] = ContextVar("limit", default=None)


def threads() -> int:
    """How many threads a read may take: torch's number, as the user set it, or fewer."""
    most, limit = _torch_threads if _running else torch.get_num_threads(), _limit.get()
    return most if limit is None else min(most, limit)


@contextmanager
def at_most(count: int | None) -> Iterator[None]:
    """Reads take no more threads than this; None sets no limit."""
    before = _limit.set(count)
    try:
        yield
    finally:
        _limit.reset(before)


@contextmanager
def torch_on_one() -> Iterator[None]:
    """Torch computes on one thread, until the last of those who asked for it is done."""
    global _running, _torch_threads
    with _lock:
        if _running == 0:
            _torch_threads = torch.get_num_threads()
            torch.set_num_threads(1)
        _running += 1
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            if _running == 0:
                torch.set_num_threads(_torch_threads)


def _begin_anew() -> None:
    """In a forked process nobody runs any more, whoever did when it was forked."""
    global _lock, _running
    _lock = threading.Lock()
    if _running:
        _running = 0
        torch.set_num_threads(_torch_threads)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)
