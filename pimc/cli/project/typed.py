"""The command line as it was typed, for what a command writes of where its files come from."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import click

__all__ = ["keep_line", "typed_line"]

_META = "pimc.line"
#: Names and passwords of an address: ``mlflow:https://me:secret@host``.
_SECRET = re.compile(r"://[^/@\s]+@")


def keep_line(context: click.Context, argv: Sequence[str]) -> None:
    """Keep the words of a command line for the command that runs."""
    context.meta[_META] = _SECRET.sub("://…@", shlex.join(["pimc", *argv]))


def typed_line() -> str | None:
    """The line of the running command, as a shell takes it; None where none was typed.

    Names and passwords within addresses are left out.
    """
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(_META)
