"""Uses of a layer in one run: several nodes or steps of a loop may share its cells."""

from __future__ import annotations

from collections.abc import Container

__all__ = ["Call", "next_call"]

#: Name of the layer, and how many uses of it came before in the same run.
Call = tuple[str, int]


def next_call(name: str, done: Container[Call]) -> Call:
    """The first use of a layer that is not among those ``done``."""
    number = 0
    while (name, number) in done:
        number += 1
    return name, number
