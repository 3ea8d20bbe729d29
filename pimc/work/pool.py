"""Where tasks run: in this process, in worker processes, or on a Dask cluster.

All three take the same calls, give the same results, and lose nothing when a worker dies:
what it had been given is given to another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from pimc.errors import UsageError, WorkerError

__all__ = ["Here", "Pool", "completed", "open_pool"]

#: How often in a row workers may die before any of them has finished something.
LOSSES = 3
#: After this time without a result it is asked whether anybody is at work.
PATIENCE_S = 30.0

Key = TypeVar("Key")
Result = TypeVar("Result")


class Pool(Protocol):
    """A place where tasks run.

    Attributes:
        window: tasks to hand over before the first of them is done.
        lost: what a task fails with when its worker died; it may be handed over again.
        local: tasks run on this machine, and see its files.
        workers: tasks that share a machine's memory, as far as is known.
    """

    lost: tuple[type[BaseException], ...]
    local: bool
    workers: int

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
    from pimc.work.cluster import Cluster
    from pimc.work.processes import Processes

    if cluster is None:
        return Here() if jobs == 1 else Processes(jobs)
    if jobs != 1:
        raise UsageError("--jobs and --cluster exclude each other", hint="give one of them")
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
        window = pool.window
        while len(running) < window:
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
    local = True
    workers = 1

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
