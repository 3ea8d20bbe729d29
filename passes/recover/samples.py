"""How many calibration samples a recovery needs; told before anything takes long to load."""

from __future__ import annotations

from pimc.data.dataset import Dataset
from pimc.errors import DataError

__all__ = ["MIN_SAMPLES", "require_samples"]

#: Fewest calibration samples a recovery can work with.
MIN_SAMPLES = 16


def require_samples(data: Dataset) -> None:
    """Make sure that there are enough calibration samples.

    Raises:
        DataError: there are too few.
    """
    if len(data) < MIN_SAMPLES:
        raise DataError(
            f"{len(data)} calibration samples are too few",
            where=data.name,
            hint=f"give at least {MIN_SAMPLES}, better some hundreds",
        )
