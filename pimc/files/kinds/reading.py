"""The one place that asks what a file is when a reader could not read it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from pimc.errors import PimcError

__all__ = ["read_as"]

P = ParamSpec("P")
T = TypeVar("T")


def read_as(wanted: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Marks the reader of a kind of file, whose path is its first argument of text or path.

    Where it fails at a file of another kind, the error, of the same class, says what the file is
    and what to do with it.

    Args:
        wanted: key of the kind in :data:`~pimc.files.kinds.table.WANTED`.
    """

    def marked(reader: Callable[P, T]) -> Callable[P, T]:
        @wraps(reader)
        def read(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return reader(*args, **kwargs)
            except PimcError as cause:
                from pimc.files.kinds.table import WANTED, kind_of

                named = [a for a in (*args, *kwargs.values()) if isinstance(a, str | Path)]
                kind = kind_of(Path(named[0])) if named else None
                if kind is None or kind.key == wanted:
                    raise
                message = f"this is {kind.name}, not {WANTED[wanted]}"
                hint = kind.use.format(file=named[0])
                raise type(cause)(message, str(named[0]), hint) from cause

        return read

    return marked
