"""Worker processes on this machine as a place where tasks run."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, TypeVar

__all__ = ["Processes"]

#: What tells libraries how many threads to use.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip

#: How often a worker looks whether its parent is there.
_LOOK_S = 0.1

Result = TypeVar("Result")


@dataclass(frozen=True)
class _File:
    """Where a worker finds a shared value."""

    path: str


@dataclass(frozen=True, eq=False)
class _Stored:
    """A shared value in a file, which goes when this does."""

    file: _File


class Processes:
    """Worker processes on this machine, through joblib's loky.

    Workers times threads are no more than the processor cores, so there are never more workers
    than cores. Shared values are files that all workers map into memory.

    Args:
        jobs: workers wanted.
    """

    lost: tuple[type[BaseException], ...] = (BrokenExecutor,)
    local = True

    def __init__(self, jobs: int) -> None:
        import joblib

        cores: int = joblib.cpu_count()
        self.workers = min(jobs, cores)
        self.threads = cores // self.workers
        self._folder = tempfile.TemporaryDirectory(prefix="pimc-")
        self._count = 0
        self._executor = self._start()
        self._given: weakref.WeakSet[Future[Any]] = weakref.WeakSet()

    @property
    def window(self) -> int:
        """One task at work and one at hand for every worker."""
        return 2 * self.workers

    def share(self, value: Any) -> _Stored:
        """Write a value to a file that lasts as long as what this returns."""
        import joblib

        path = Path(self._folder.name) / f"{self._count}.joblib"
        self._count += 1
        joblib.dump(value, path)
        stored = _Stored(_File(str(path)))
        weakref.finalize(stored, _remove, path)
        return stored

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Hand over a call; see :class:`~pimc.work.pool.Pool`."""
        sent = [a.file if isinstance(a, _Stored) else a for a in arguments]
        try:
            future: Future[Result] = self._executor.submit(_call, function, *sent)
            self._given.add(future)
        except BrokenExecutor as cause:  # a worker died just now
            future = Future()
            future.set_exception(cause)
        return future

    def check(self) -> None:
        """The death of a worker is noticed at once."""

    def renew(self) -> None:
        """New workers; the old ones have all been ended."""
        self._executor.shutdown(wait=True, kill_workers=True)
        self._executor = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # A task that is not yet in the queue of the workers when they are ended makes loky's own
        # thread fail. The queue has room for the window, so this takes no time to speak of.
        until = time.monotonic() + 1
        while kind and any(not (f.running() or f.done()) for f in self._given):
            if time.monotonic() > until:
                break
            time.sleep(0.001)
        self._executor.shutdown(wait=True, kill_workers=kind is not None)
        self._folder.cleanup()

    def _start(self) -> Any:
        from joblib.externals.loky import ProcessPoolExecutor

        return ProcessPoolExecutor(
            self.workers,
            initializer=_begin,
            env=dict.fromkeys(_THREAD_VARIABLES, str(self.threads)),
        )


def _begin() -> None:
    """Make a process a quiet worker: Ctrl-C is its parent's business, and so are warnings."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    if os.environ.get("PIMC_DEBUG", "0") in ("", "0"):
        warnings.simplefilter("ignore")


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: nobody waits for what it does.

    Else it would go on with what it had been given, beside whoever takes that up again.
    """
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def _call(function: Callable[..., Result], *arguments: Any) -> Result:
    return function(*(_opened(a) if isinstance(a, _File) else a for a in arguments))


@lru_cache(maxsize=4)
def _opened(file: _File) -> Any:
    import joblib

    # Pages are shared with the other workers until somebody writes to them.
    return joblib.load(file.path, mmap_mode="c")


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
