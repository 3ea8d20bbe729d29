"""What a network gets, as tensors by the names of its inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pimc.data.dataset import Dataset

__all__ = ["Feed", "feeds", "in_double", "samples_of", "tensors"]

#: Tensors by input name, samples first.
Feed = Mapping[str, torch.Tensor]


def tensors(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Arrays as tensors."""
    return {
        # Writeable, because torch does not take over what is not.
        name: torch.from_numpy(np.require(value, requirements=["C", "W"]))
        for name, value in arrays.items()
    }


def in_double(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Arrays as tensors, real numbers in float64."""
    return {
        name: value.double() if value.is_floating_point() else value
        for name, value in tensors(arrays).items()
    }


def feeds(data: Dataset, size: int) -> Iterator[dict[str, torch.Tensor]]:
    """All samples of ``data``, ``size`` at a time."""
    for start in range(0, len(data), size):
        yield tensors(data.feed(start, start + size))


def samples_of(feed: Feed) -> int:
    """How many samples a feed holds."""
    return max((len(value) for value in feed.values() if value.dim()), default=1)
