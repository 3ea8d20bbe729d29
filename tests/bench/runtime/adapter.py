"""What every adapter of a contender is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array32 = npt.NDArray[np.float32]
Run = Callable[[Array32], Array32]
#: Gets the folder that ``networks.prepare`` filled, some inputs to set ranges with, and the number
#: of threads; imports its library itself and raises SkippedError where it cannot run.
Build = Callable[[Path, Array32, int], Run]


class SkippedError(Exception):
    """A contender cannot run here; the message says why."""


def of_module(net: Any, *, channels_last: bool = False) -> Run:
    """Runs a torch module without gradients, on inputs of its memory layout."""
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format

    def run(batch: Array32) -> Array32:
        with torch.no_grad():
            found: Array32 = net(torch.from_numpy(batch).to(memory_format=layout)).numpy()
        return found

    return run
