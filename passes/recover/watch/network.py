"""What the whole network gives for a data set."""

from __future__ import annotations

import torch

from pimc.data.dataset import Dataset
from pimc.progress import Progress
from pimc.runtime.feeds import tensors
from pimc.runtime.graph.executor import ArrayCall
from pimc.runtime.sequences import samples_first
from pimc.runtime.session import BATCH_SIZE, Session

__all__ = ["network_outputs"]


def network_outputs(
    session: Session, data: Dataset, progress: Progress, what: str, array: ArrayCall | None = None
) -> list[torch.Tensor]:
    """The network's outputs for all of ``data``, one tensor an output, samples first.

    Args:
        what: what is told of it while it lasts.
        array: stands in for the session's chip.
    """
    names = [arg.name for arg in session.get_outputs()]
    starts = range(0, len(data), BATCH_SIZE)
    parts = [
        session.evaluate(
            tensors(data.feed(start, start + BATCH_SIZE)),
            want=names,
            array=array,
        )
        for start in progress(starts, what, len(starts))
    ]
    return [torch.cat([samples_first(part[name], data, name) for part in parts]) for name in names]
