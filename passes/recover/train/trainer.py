"""Inputs in a drawn order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from pimc.data.dataset import Dataset


def batches(data: Dataset, batch_size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Inputs of one epoch in a drawn order."""
    # Even parts: a last batch of one sample would have no variance to measure errors by.
    order = torch.randperm(len(data), generator=generator).numpy()
    for part in np.array_split(order, -(-len(order) // batch_size)):
        yield torch.from_numpy(data.subset(part).all())
