"""``KEY=VALUE`` as a user writes it on the command line: a chip's key and a TOML value."""

from __future__ import annotations

import tomllib
from typing import Any

from pimc.errors import UsageError


def assignment(text: str) -> tuple[str, Any]:
    """The key and the value of ``KEY=VALUE``.

    The value is read as in a chip file; a word that is no TOML value stands for itself, so
    that strings need no quotes.

    Raises:
        UsageError: there is no key or no value.
    """
    key, _, value = (part.strip() for part in text.partition("="))
    if not key or not value:
        raise UsageError(
            f"{text!r} is not KEY=VALUE", hint="write it like adc.bits=6; docs/chip.md lists keys"
        )
    try:
        parsed = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):
        return key, value
    # More than one line would be more than one value.
    return key, parsed["value"] if len(parsed) == 1 else value
