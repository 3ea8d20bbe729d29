"""Where tasks run: in this process, in worker processes, or on a Dask cluster.

All three take the same calls, give the same results, and lose nothing when a worker dies:
what it had been given is given to another.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from pimc.errors import UsageError, WorkerError

__all__ = ["Here", "Pool", "Processes", "completed", "open_pool"]

#: How often in a row workers may die before any of them has finished something.
LOSSES = 3
#: After this time without a result it is asked whether anybody is at work.
PATIENCE_S = 30.0
#: What tells libraries how many threads to use.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip

Key = TypeVar("Key")
Result = TypeVar("Result")


class Pool(Protocol):
    """A place where tasks run.

    Attributes:
        window: tasks to hand over before the first of them is done.
        lost: what a task fails with when its worker died; it may be handed over again.
    """

    lost: tuple[type[BaseException], ...]

    @property
    def window(self) -> int:
        """See the class."""
        ...

    def share(self, value: Any) -> Any:
        """A stand-in for ``value`` that is cheap to hand over; tasks get the value.

        A worker reads it once, and tasks find the same object as long as they use it.
        """
        ...

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Hand over a call; arguments may be stand-ins."""
        ...

    def check(self) -> None:
        """Make sure that there is somebody to do the work.

        Raises:
            WorkerError: there are no workers any more.
        """
        ...

    def renew(self) -> None:
        """Go on after workers died.

        Raises:
            WorkerError: there are no workers any more.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        cause: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_pool(jobs: int = 1, cluster: str | None = None) -> Pool:
    """The place that a user asked for.

    Args:
        jobs: worker processes on this machine; with 1 this process does the work.
        cluster: address of a Dask scheduler, such as ``tcp://host:8786``.

    Raises:
        UsageError: both are asked for, or Dask is not installed.
        WorkerError: no scheduler answers, or it has no workers that can do the work.
    """
    if cluster is None:
        return Here() if jobs == 1 else Processes(jobs)
    if jobs != 1:
        raise UsageError("--jobs and --cluster exclude each other", hint="give one of them")
    from pimc.cluster import Cluster

    return Cluster(cluster)


def completed(
    pool: Pool,
    function: Callable[..., Result],
    tasks: Iterable[tuple[Key, tuple[Any, ...]]],
) -> Iterator[tuple[Key, Result]]:
    """Results of ``function(*arguments)`` with the keys of their tasks, as they come.

    Args:
        pool: where to run them.
        function: a function of a module, so that a worker can import it.
        tasks: key and arguments of each; taken one by one when there is room for more.

    Raises:
        WorkerError: workers die again and again without finishing anything.
        Exception: what a task raised.
    """
    source, again = iter(tasks), deque[tuple[Key, tuple[Any, ...]]]()
    running: dict[Future[Result], tuple[Key, tuple[Any, ...]]] = {}
    losses = 0
    while True:
        while len(running) < pool.window:
            task = again.popleft() if again else next(source, None)
            if task is None:
                break
            running[pool.submit(function, *task[1])] = task
        if not running:
            return
        done, _ = wait(running, timeout=PATIENCE_S, return_when=FIRST_COMPLETED)
        if not done:
            pool.check()
        died = any(isinstance(_failure(future), pool.lost) for future in done)
        if died:
            # The others fall with it, or finish; what does neither is not waited for.
            done, left = wait(running, timeout=PATIENCE_S)
            again.extend(running.pop(future) for future in left)
            losses += 1
        for future in done:
            task = running.pop(future)
            if isinstance(_failure(future), pool.lost):
                again.append(task)
            else:
                losses = 0
                yield task[0], future.result()
        if died:
            if losses == LOSSES:
                raise WorkerError(
                    f"workers died {losses} times in a row without finishing anything",
                    hint="they may have run out of memory: give fewer --jobs or a smaller "
                    "--batch-size",
                )
            pool.renew()


def _failure(future: Future[Any]) -> BaseException | None:
    """What a finished task failed with."""
    try:
        return future.exception()
    except BaseException as cause:  # cancelled, which is no Exception everywhere
        return cause


class Here:
    """The calling process: a task is done when it is handed over."""

    window = 1
    lost: tuple[type[BaseException], ...] = ()

    def share(self, value: Any) -> Any:
        """The value itself."""
        return value

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Call ``function``; what it raises is raised here."""
        future: Future[Result] = Future()
        future.set_result(function(*arguments))
        return future

    def check(self) -> None:
        """Nobody but this process is needed."""

    def renew(self) -> None:
        """Nothing can be lost."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


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
        """Hand over a call; see :class:`Pool`."""
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
    if os.environ.get("PIMC_DEBUG", "0") in ("", "0"):
        warnings.simplefilter("ignore")


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
