"""What a command says on stderr: text for people, or one JSON object a line for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal

__all__ = ["Form", "Level", "Log", "begin", "current", "form_of"]

Form = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]

_ORDER: tuple[Level, ...] = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Log:
    """Where a command's messages go.

    Attributes:
        command: its name; empty before it is known.
        least: messages below this level are left out.
    """

    command: str = ""
    form: Form = "text"
    least: Level = "info"

    def tell(self, level: Level, event: str, text: str = "", **fields: Any) -> None:
        """Say something on stderr.

        Args:
            event: what happened, one word.
            text: the same for people; without, only JSON tells of it.
            fields: what belongs to it.
        """
        if _ORDER.index(level) < _ORDER.index(self.least):
            return
        if self.form == "json":
            told = {"message": text, **fields} if text else fields
            line = json.dumps(
                {
                    "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "level": level,
                    "event": event,
                    "command": self.command,
                    "fields": told,
                },
                ensure_ascii=False,
                default=str,
            )
        elif text:
            line = f"warning: {text}" if level == "warning" else text
        else:
            return
        print(line, file=sys.stderr, flush=True)

    def trace(self, event: str, text: str, **fields: Any) -> None:
        """Say what people ask for with ``--verbose``, and machines always get."""
        self.tell("info" if self.form == "json" else "debug", event, text, **fields)


_current = Log()


def begin(log: Log) -> Log:
    """Have all messages from now on go there."""
    global _current
    _current = log
    return log


def current() -> Log:
    """Where messages go now."""
    return _current


def form_of(words: Sequence[str]) -> Form:
    """The form that a command line asks for, also one that is not understood."""
    json_asked = any(
        word == "--log-format=json" or (word, after) == ("--log-format", "json")
        for word, after in pairwise([*words, ""])
    )
    return "json" if json_asked else "text"
