"""Samples parted at random in two."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pimc.errors import DataError

__all__ = ["by_sequence", "split_places"]

_Places = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def split_places(samples: int, fraction: float, rng: np.random.Generator, where: str) -> _Places:
    """Places of the samples of two parts, each in their order.

    Raises:
        DataError: one of the parts would be empty.
    """
    count = round(fraction * samples) if 0 < fraction < 1 else 0
    if not 0 < count < samples:
        raise DataError(
            f"{samples} samples cannot be split at {fraction:g}",
            where,
            "give more samples, or a fraction between 0 and 1",
        )
    order = rng.permutation(samples)
    return np.sort(order[:count]), np.sort(order[count:])


def by_sequence(count: int, steps: int, fraction: float, rng: np.random.Generator) -> _Places:
    """Samples of two parts of so many sequences, of each at least one; steps stay together."""
    first = min(max(round(fraction * count), 1), count - 1)
    order = rng.permutation(count)
    one, two = (
        (np.sort(part)[:, None] * steps + np.arange(steps)).reshape(-1)
        for part in (order[:first], order[first:])
    )
    return one, two
