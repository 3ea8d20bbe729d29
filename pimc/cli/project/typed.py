"""The command line as it was typed, for what a command writes of where its files come from."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import click

__all__ = ["keep_line", "typed_line"]

_META = "pimc.line"
#: What an address may hide: ``mlflow:https://me:secret@host``, ``?token=secret``.
_SECRETS = ((re.compile(r"://[^?#]*@"), "://…@"), (re.compile(r"([?&][^=&]+=)[^&]+"), r"\1…"))


def keep_line(context: click.Context, argv: Sequence[str]) -> None:
    """Keep the words of a command line for the command that runs."""
    # A name of a file that is no UTF-8 can be told nowhere else.
    line = shlex.join(["pimc", *map(_without_secrets, argv)])
    context.meta[_META] = line.encode("utf-8", "backslashreplace").decode()


def _without_secrets(word: str) -> str:
    for pattern, shown in _SECRETS:
        word = pattern.sub(shown, word)
    return word


def typed_line() -> str | None:
    """The line of the running command, as a shell takes it; None where none was typed.

    Names, passwords and values of queries within addresses are left out.
    """
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(_META)
