"""Threads: our own, for compiled loops, which hold no lock of the interpreter; those of BLAS."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

__all__ = ["blas_on_one", "shared_out"]

T = TypeVar("T")


def shared_out(count: int, threads: int, work: Callable[[int, int], T]) -> list[T]:
    """What ``work`` gives for each part of ``range(count)``, first to last; one part a thread.

    ``work`` must not share out work of its own: there are no more threads for it.
    """
    share = min(threads, count)
    if share <= 1:
        return [work(0, count)]
    cuts = [count * part // share for part in range(share + 1)]
    return list(_pool(share).map(work, cuts[:-1], cuts[1:]))


@cache
def _pool(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="pimc-loops")


if hasattr(os, "register_at_fork"):  # not on Windows
    # A forked process has none of the threads, and would wait for them forever.
    os.register_at_fork(after_in_child=_pool.cache_clear)


_lock = threading.Lock()
#: How many ask for it now, and what sets the threads back.
_asking, _limit = 0, ExitStack()


@contextmanager
def blas_on_one() -> Iterator[None]:
    """NumPy's and SciPy's BLAS computes on one thread: where other threads compute in between.

    Torch's, too, wait for their next piece of work by spinning, and so both keep each other from
    the processors: what takes turns takes three times as long as on one thread. It lasts until the
    last of those who asked for it is done.
    """
    global _asking
    with _lock:
        if not _asking:
            _limit.enter_context(_blas().limit(limits=1))
        _asking += 1
    try:
        yield
    finally:
        with _lock:
            _asking -= 1
            if not _asking:
                _limit.close()


@cache
def _blas() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401, what is not loaded is not found
    from threadpoolctl import ThreadpoolController

    # Torch's own BLAS, if it has one of that kind, shares the threads of OpenMP with torch.
    return ThreadpoolController().select(threading_layer="pthreads")
