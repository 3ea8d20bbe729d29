"""How a command begins, how far it is and how it ends, told to its log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from pimc.cli.log import Log
from pimc.progress import Beat, Loop, Progress, listening

__all__ = ["beating", "told_of"]

#: Options about the output.
_ABOUT = frozenset({"json", "quiet", "log_format", "verbose"})
_beat: Beat | None = None


def beating() -> Progress | None:
    """What reports progress to the log of the command that runs; None where bars do, or nothing."""
    return None if _beat is None else _beat.track


@contextmanager
def told_of(log: Log, given: Mapping[str, Any], *, bars: bool) -> Iterator[list[int]]:
    """Tell of a command that runs: how it begins, how far it is, how it ends.

    Yields a list that takes its exit code.

    Args:
        given: its options by parameter.
        bars: progress is shown otherwise.
    """
    from pimc.files.writing.atomic import written_files

    global _beat
    name, start, quiet = log.command, time.perf_counter(), log.least == "warning"
    options = {
        key: _plain(value)
        for key, value in given.items()
        if key not in _ABOUT and value not in (None, (), False)
    }
    log.trace("started", f"{name}: " + "  ".join(f"{k} {v}" for k, v in options.items()), **options)

    def tell(loops: Sequence[Loop], took_s: float) -> None:
        text = ", ".join([f"{name}: {took_s:.0f} s", *map(str, loops)])
        told = [{"name": one.description, "done": one.done, "total": one.total} for one in loops]
        log.tell("info", "progress", text, seconds=round(took_s, 1), loops=told)

    def wait(text: str) -> None:
        log.trace("waiting", text)

    ended: list[int] = []
    with ExitStack() as stack:
        stack.enter_context(listening(quiet=quiet, tell=None if bars else wait))
        written = stack.enter_context(written_files())
        if not bars and not quiet:
            _beat = Beat(tell)
            stack.enter_context(_beat.running())
        try:
            yield ended
        finally:
            _beat = None
    for path in dict.fromkeys(written):
        if path.exists():
            size = path.stat().st_size
            log.trace("written", f"{name}: written {path}, {size:,} bytes", path=path, bytes=size)
    seconds = round(time.perf_counter() - start, 3)
    log.trace("finished", f"{name}: {seconds:.1f} s", exit_code=ended[0], seconds=seconds)


def _plain(value: Any) -> Any:
    """An option's value as JSON has it."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, bool | int | float | str) else str(value)
