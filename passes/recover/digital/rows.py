"""Rows: what the reference columns' own errors add to each row, taken off digitally."""

from __future__ import annotations

from typing import Any

import numpy as np

from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.estimate import CellEstimate, reference_error

__all__ = ["row_correction"]


def row_correction(estimate: CellEstimate, image: Image, layer: ImageLayer) -> Any:
    """The image's ``row_correction``, (groups, col_blocks, wordlines); None without reference."""
    if image.chip.mapping.pedestal != "reference":
        return None
    first = np.unique(layer.block_of_bitline, return_index=True)[1]
    common = reference_error(estimate, image, layer)[:, :, first]
    by_group = common.reshape(layer.groups, -1, layer.col_blocks)[:, : layer.wordlines]
    return np.ascontiguousarray(by_group.transpose(0, 2, 1), dtype=np.float32)
