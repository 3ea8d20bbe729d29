"""A convolution's kernels as the matrix that goes on the array, and back.

Rows of a group are ordered by (channel in the group, kernel position), as an unfolded input has
them (:mod:`pimc.plan.vectors`). Works on NumPy's arrays and on torch's tensors, without a copy
where the result can be a view.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy.typing as npt

if TYPE_CHECKING:
    import torch

__all__ = ["kernels_of_matrix", "matrix_of_kernels"]

Values = TypeVar("Values", "npt.NDArray[Any]", "torch.Tensor")


def matrix_of_kernels(kernels: Values, groups: int) -> Values:
    """(groups · cols, channels in a group, *kernel) → (groups, channels · taps, cols)."""
    cols, rows = kernels.shape[0] // groups, math.prod(kernels.shape[1:])
    return kernels.reshape(groups, cols, rows).swapaxes(1, 2)


def kernels_of_matrix(matrix: Values, kernel: Sequence[int]) -> Values:
    """(groups, channels · taps, cols) → (groups · cols, channels in a group, *kernel)."""
    groups, rows, cols = matrix.shape
    channels = rows // math.prod(kernel)
    return matrix.swapaxes(1, 2).reshape(groups * cols, channels, *kernel)
