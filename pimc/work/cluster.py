"""A Dask cluster as a place where tasks run; needs the extra ``pimc[cluster]``."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, Self, TypeVar

from pimc.errors import UsageError, WorkerError

__all__ = ["Cluster"]

#: How long to wait for the scheduler, and for a first worker.
CONNECT_S = 10.0
#: Tasks handed over for each worker: one at work, others on their way.
_AHEAD = 3
#: Loggers of what goes wrong in between, which is dealt with here.
_TALKATIVE = ("distributed", "distributed.client", "tornado")

Result = TypeVar("Result")


@dataclass(eq=False)
class _Scattered:
    """A shared value, and where the cluster has it: known to ``client`` as ``future``."""

    value: Any
    client: object = None
    future: Any = None


class Cluster:
    """The workers of a Dask scheduler; each does one task at a time, with all its threads.

    Args:
        address: of the scheduler, such as ``tcp://host:8786``.

    Raises:
        UsageError: Dask is not installed.
        WorkerError: no scheduler answers, it has no workers, or they have another pimc.
    """

    lost: tuple[type[BaseException], ...]
    local = False
    workers = 1

    def __init__(self, address: str) -> None:
        try:
            from distributed import KilledWorker
        except ImportError as cause:
            raise UsageError(
                "a cluster needs the package distributed", hint="pip install 'pimc[cluster]'"
            ) from cause
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.address = address
        self.lost = (CancelledError, asyncio.CancelledError, KilledWorker)
        self._client = self._connect()

    @property
    def window(self) -> int:
        """A few tasks for every worker that there is now."""
        return _AHEAD * max(1, len(self._client.nthreads()))

    def share(self, value: Any) -> _Scattered:
        """A value that is sent to all workers once, when the first task needs it."""
        return _Scattered(value)

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Hand over a call; see :class:`~pimc.work.pool.Pool`."""
        sent = [self._sent(a) if isinstance(a, _Scattered) else a for a in arguments]
        future: Future[Result] = Future()
        # Not pure: Dask would hash all arguments to find out whether it knows the result.
        remote = self._client.submit(_alone, function, *sent, pure=False)
        remote.add_done_callback(partial(_hand_on, future))
        return future

    def check(self) -> None:
        """Make sure that there are workers; see :class:`~pimc.work.pool.Pool`."""
        self._wait_for_workers(self._client)

    def renew(self) -> None:
        """Connect again: what workers held in common may have gone with them."""
        self._client.close()
        self._client = self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def _sent(self, shared: _Scattered) -> Any:
        if shared.client is not self._client:
            shared.future = self._client.scatter(shared.value, broadcast=True, hash=False)
            shared.client = self._client
        return shared.future

    def _connect(self) -> Any:
        from distributed import Client

        try:
            _reach(self.address)
            client = Client(self.address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as cause:
            raise WorkerError(
                "no Dask scheduler answers",
                where=self.address,
                hint="start `dask scheduler` and give its address, such as tcp://host:8786",
            ) from cause
        try:
            self._wait_for_workers(client)
            self._compare_versions(client)
        except BaseException:
            client.close()
            raise
        return client

    def _wait_for_workers(self, client: Any) -> None:
        try:
            client.wait_for_workers(1, timeout=CONNECT_S)
        except (OSError, TimeoutError, RuntimeError) as cause:
            raise WorkerError(
                "the cluster has no workers",
                where=self.address,
                hint=f"start some with `dask worker {self.address}`",
            ) from cause

    def _compare_versions(self, client: Any) -> None:
        ours = version("pimc")
        for worker, found in client.run(_version, on_error="return").items():
            if found != ours:
                have = f"has pimc {found}" if isinstance(found, str) else "has no pimc"
                raise WorkerError(
                    f"{have}, not {ours}", where=worker, hint="install the same on all workers"
                )


def _hand_on(future: Future[Any], remote: Any) -> None:
    """Let a future end as the cluster's has; Dask's own executor forgets some that were lost."""
    try:
        result = remote.result()
    except BaseException as cause:  # what the task raised, or that it was lost
        future.set_exception(cause)
    else:
        future.set_result(result)


def _reach(address: str) -> None:
    """Make sure that somebody listens, because a client that fails to connect stays behind.

    Raises:
        OSError: nobody does.
        ValueError: not an address.
    """
    from distributed.comm.addressing import parse_address, parse_host_port

    scheme, place = parse_address(address)
    if scheme not in ("tcp", "tls"):
        raise ValueError(f"{scheme} is not known")
    with socket.create_connection(parse_host_port(place), timeout=CONNECT_S):
        pass


def _version() -> str:
    return version("pimc")


#: Held by the thread of this worker that computes.
_turn = threading.Lock()


def _alone(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call ``function`` while no other thread of the worker does, on all its cores."""
    import torch
    from distributed import get_worker

    with _turn:
        torch.set_num_threads(get_worker().state.nthreads)
        return function(*arguments)
