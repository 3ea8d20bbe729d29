"""Outputs of a network that are no numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pimc.errors import ModelError

__all__ = ["require_finite"]


def require_finite(outputs: Mapping[str, Any], where: str) -> None:
    """Refuse outputs that hold NaN or infinity: whatever is made of them is no result.

    Args:
        outputs: arrays by name, or lists of arrays where an output is a sequence.
        where: what gave them, for the message.

    Raises:
        ModelError: names the first such output, and how many of its values are not finite.
    """
    for name, value in outputs.items():
        arrays = value if isinstance(value, list) else [value]
        floats = [array for array in map(np.asarray, arrays) if array.dtype.kind == "f"]
        count = sum(int(np.count_nonzero(~np.isfinite(array))) for array in floats)
        if count:
            total = sum(array.size for array in floats)
            raise ModelError(
                f"{count:,} of {total:,} values of output {name} are NaN or infinite",
                where=where,
                hint="run the source model in ONNX Runtime on the same inputs: if its outputs are "
                "finite, look for the layer with `pimc verify --data`",
            )
