"""What may happen to a process while it writes: a signal, or a disk that is full."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Fault", "install"]


@dataclass(frozen=True)
class Fault:
    """What happens at a step of writing: opening, writing, syncing, renaming or removing a file.

    Attributes:
        step: number of the step, from 0; it happens before that step is done.
        signal: sent to the process then; with None the disk is full from then on.
    """

    step: int
    signal: int | None = None


def install(fault: Fault | None) -> Callable[[], int]:
    """Make it happen in this process; returns what tells how many steps there were."""
    steps = 0

    def step(*, takes_room: bool, name: object = None) -> None:
        nonlocal steps
        number, steps = steps, steps + 1
        if fault is None:
            return
        if fault.signal is not None and number == fault.step:
            os.kill(os.getpid(), fault.signal)
        if fault.signal is None and number >= fault.step and takes_room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    class Raw(io.FileIO):
        """A file whose writes are steps."""

        def write(self, data: Any) -> int:
            step(takes_room=True)
            return super().write(data)

    opened = io.open

    def open_file(file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
        # A file without a name, of the module tempfile, comes by an opener of its own.
        plain = isinstance(file, int) or "opener" in options
        if plain or not set(mode) & set("wxa+"):
            return opened(file, mode, *more, **options)
        step(takes_room=not os.path.exists(file), name=os.fspath(file))
        raw = Raw(file, mode.replace("b", "").replace("t", ""))
        if (more[0] if more else options.get("buffering")) == 0:
            return raw
        stream = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return stream
        return io.TextIOWrapper(stream, options.get("encoding"), newline=options.get("newline"))

    def stepping(call: Callable[..., Any], *, takes_room: bool) -> Callable[..., Any]:
        def done(*arguments: Any, **options: Any) -> Any:
            step(takes_room=takes_room)
            return call(*arguments, **options)

        return done

    builtins.open = io.open = open_file
    os.fsync = stepping(os.fsync, takes_room=True)
    os.replace = stepping(os.replace, takes_room=False)
    os.unlink = stepping(os.unlink, takes_room=False)
    return lambda: steps
