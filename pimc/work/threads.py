"""Threads of our own: for compiled loops, which hold no lock of the interpreter."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

__all__ = ["shared_out"]

T = TypeVar("T")


def shared_out(count: int, threads: int, work: Callable[[int, int], T]) -> list[T]:
    """What ``work`` gives for each part of ``range(count)``, first to last; one part a thread."""
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
