"""Some after others: work is cut so that what it takes on the way does not grow with a network."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["parts"]


def parts(count: int, each: int, most: int) -> Iterator[slice]:
    """Slices of ``count`` things, in order, each thing in one of them.

    Args:
        each: numbers that a thing has.
        most: numbers that may be worked on at once; one thing is, however many it has.
    """
    step = max(1, most // max(each, 1))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))
