"""What went wrong, in a user's terms: one message and an exit code for every exception."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from pimc.errors import PimcError
from pimc.extras import missing

__all__ = ["INTERRUPTED", "TERMINATED", "Failure", "TerminatedError", "failure_of"]

INTERRUPTED = 130
TERMINATED = 143


class TerminatedError(KeyboardInterrupt):
    """The process was told to end (SIGTERM); what cleans up after Ctrl-C does so then, too."""


@dataclass(frozen=True)
class Failure:
    """A failure in a user's terms."""

    exit_code: int
    message: str
    where: str | None = None
    hint: str | None = None

    def text(self) -> str:
        """What is printed."""
        head = f"error: {self.where}: {self.message}" if self.where else f"error: {self.message}"
        return f"{head}\n  hint: {self.hint}" if self.hint else head

    def fields(self) -> dict[str, object]:
        """The same without the message, as fields of a log."""
        told = self.to_dict()
        del told["message"]
        return told

    def to_dict(self) -> dict[str, object]:
        """The same as JSON."""
        return {
            "message": self.message,
            "where": self.where,
            "hint": self.hint,
            "exit_code": self.exit_code,
        }


def failure_of(cause: BaseException) -> Failure | None:
    """How to report an exception; None for one that ends Python."""
    shortage = _memory_shortage(cause)
    if shortage is not None:
        return _from_memory(shortage)
    for kind, describe in _FAILURES:
        if isinstance(cause, kind):
            return describe(cause)
    return None


def _from_pimc(cause: PimcError) -> Failure:
    message = cause.message + _nearest(cause.where) * (cause.message == "no such file")
    return Failure(cause.exit_code, message, cause.where, cause.hint)


def _nearest(where: str | None) -> str:
    """The file that was meant instead, where its folder holds one of nearly this name."""
    from pimc.files.strict import did_you_mean

    path = Path(where or "")
    try:
        beside = sorted(one.name for one in path.parent.iterdir() if one.name[:1] != ".")
    except (OSError, ValueError):  # no folder, or no path at all
        return ""
    return did_you_mean(path.name, beside)


def _from_click(cause: click.ClickException) -> Failure:
    context = getattr(cause, "ctx", None)
    path = context.command_path if context is not None else "pimc"
    return Failure(2, cause.format_message().rstrip("."), hint=f"see `{path} --help`")


def _from_interrupt(cause: BaseException) -> Failure:
    return Failure(INTERRUPTED, "interrupted")


def _from_termination(cause: BaseException) -> Failure:
    return Failure(TERMINATED, "terminated")


def _from_os(cause: OSError) -> Failure:
    full = cause.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "free space or choose another disk" if full else "check the path and its permissions"
    where = None if cause.filename is None else str(cause.filename)
    if cause.errno == errno.ENOENT and _nearest(where):
        return Failure(2, f"no such file{_nearest(where)}", where, hint)
    return Failure(2, cause.strerror or str(cause) or type(cause).__name__, where, hint)


def _memory_shortage(cause: BaseException | None) -> BaseException | None:
    """The failed allocation among the causes of a failure; libraries report it in their way."""
    while cause is not None:
        if isinstance(cause, MemoryError) or (
            isinstance(cause, RuntimeError) and any(said in str(cause) for said in _NO_MEMORY)
        ):
            return cause
        cause = cause.__cause__
    return None


#: What torch (on the CPU, on a GPU) and ONNX Runtime say when memory runs out.
_NO_MEMORY = ("can't allocate memory", "out of memory", "Failed to allocate memory", "bad_alloc")


def _from_memory(cause: BaseException) -> Failure:
    said = str(cause).rpartition("can't allocate memory: ")[2].strip().partition("\n")[0]
    return Failure(
        2,
        f"not enough memory{f': {said}' if said else ''}",
        hint="use less data at a time (--batch-size or --limit where the command has them), "
        "or a machine with more memory",
    )


def _from_import(cause: ModuleNotFoundError) -> Failure:
    told = missing(cause)
    return _from_anything(cause) if told is None else _from_pimc(told)


def _from_anything(cause: Exception) -> Failure:
    interrupt = _interrupt_behind(cause)
    if interrupt is not None:
        return failure_of(interrupt) or _from_interrupt(interrupt)
    return Failure(
        2,
        f"internal error: {type(cause).__name__}: {cause}",
        hint="PIMC_DEBUG=1 shows the traceback; please report it",
    )


def _interrupt_behind(cause: BaseException) -> KeyboardInterrupt | None:
    """The interrupt that came while a compiled module was imported, which makes something else."""
    behind = cause.__cause__ or cause.__context__
    while behind is not None and not isinstance(behind, KeyboardInterrupt):
        behind = behind.__cause__ or behind.__context__
    return behind


#: What can go wrong, the first that fits; anything else ends Python as it would without us.
_FAILURES: tuple[tuple[type[BaseException], Callable[..., Failure]], ...] = (
    (PimcError, _from_pimc),
    (click.ClickException, _from_click),
    (click.Abort, _from_interrupt),
    (TerminatedError, _from_termination),
    (KeyboardInterrupt, _from_interrupt),
    (OSError, _from_os),
    (ModuleNotFoundError, _from_import),
    (Exception, _from_anything),
)
