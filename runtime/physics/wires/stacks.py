"""Stacks of small matrices: (…, rows, columns), wherever the stack lies in memory.

Matrices of a few rows are fastest with the stack innermost, larger ones each in a piece, for BLAS.
Every function here keeps the order that it finds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array64 = npt.NDArray[np.float64]


def stack_innermost(shape: tuple[int, ...], rows: int, columns: int) -> Array64:
    """An empty stack whose matrices are spread over memory."""
    return np.moveaxis(np.empty((rows, columns, *shape)), (0, 1), (-2, -1))


def empty_like(stack: Array64, rows: int, columns: int) -> Array64:
    """An empty stack of the same shape and order, of matrices of another size."""
    if _in_a_piece(stack):
        return np.empty((*stack.shape[:-2], rows, columns))
    return stack_innermost(stack.shape[:-2], rows, columns)


def transposed(stack: Array64) -> Array64:
    """The stack of transposed matrices."""
    return stack.swapaxes(-1, -2)


def product(first: Array64, second: Array64) -> Array64:
    """Matrix by matrix."""
    if first.shape[-1] == 1:
        return first * second
    if _in_a_piece(first) and _in_a_piece(second):
        return first @ second
    found: Array64 = np.einsum("...ik,...kj->...ij", first, second)
    return found


def inverse(stack: Array64) -> Array64:
    """Of every matrix."""
    if stack.shape[-1] == 1:
        return 1.0 / stack
    if stack.shape[-1] == 2:
        return _inverse_of_two(stack)
    found: Array64 = np.asarray(np.linalg.inv(stack), np.float64)
    if _in_a_piece(stack):
        return found
    spread = empty_like(stack, *stack.shape[-2:])
    spread[...] = found
    return spread


def _inverse_of_two(stack: Array64) -> Array64:
    found = empty_like(stack, 2, 2)
    (a, b), (c, d) = ((stack[..., row, 0], stack[..., row, 1]) for row in (0, 1))
    determinant = a * d - b * c
    for row, column, value in ((0, 0, d), (0, 1, -b), (1, 0, -c), (1, 1, a)):
        np.divide(value, determinant, out=found[..., row, column])
    return found


def _in_a_piece(stack: Array64) -> bool:
    """A matrix that stands alone does, and so do transposed ones and parts."""
    return stack.ndim == 2 or stack.itemsize in stack.strides[-2:]
