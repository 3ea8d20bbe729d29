"""Orthogonal matrices that spread what lies in few channels over all of them.

Hadamard matrices do so evenly, since all their entries are of one size. They are put together of
Sylvester's and Paley's (J. J. Sylvester 1867, 10.1080/14786446708639914; R. E. A. C. Paley 1933,
10.1002/sapm1933121311); of other sizes a matrix is drawn.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["hadamard", "rotation"]

Array64 = npt.NDArray[np.float64]

#: Orders that a product of matrices is put together of; one above a prime that leaves 3 by 4.
_PALEY = (12, 20, 44)


def rotation(size: int, rng: np.random.Generator, *, keeps_mean: bool = False) -> Array64:
    """An orthogonal matrix (size, size) with entries of about equal size.

    Args:
        keeps_mean: a vector of ones is left as it is, from both sides, and with it the mean of
            what is rotated.
    """
    even = hadamard(size)
    turned: Array64
    if even is None:
        drawn, upper = np.linalg.qr(rng.standard_normal((size, size)))
        turned = drawn * np.sign(np.diag(upper))
    else:
        turned = rng.choice([-1.0, 1.0], size)[:, None] * even / np.sqrt(size)
    if not keeps_mean:
        return turned
    # A reflection takes what becomes of the ones back to them.
    ones = np.full(size, size**-0.5)
    mirror = turned.T @ ones - ones
    length = float(mirror @ mirror)
    if length < np.finfo(np.float64).eps:
        return turned
    back: Array64 = turned - np.outer(turned @ mirror, mirror) * (2 / length)
    return back


def hadamard(size: int) -> Array64 | None:
    """A matrix of ±1 whose rows are orthogonal; None where none is known here."""
    orders = _factors(size)
    if orders is None:
        return None
    matrix: Array64 = np.ones((1, 1))
    for order in orders:
        part = _sylvester() if order == 2 else _paley(order - 1)
        matrix = np.kron(matrix, part).astype(np.float64)
    return matrix


def _factors(size: int) -> tuple[int, ...] | None:
    """Orders whose product is ``size``; None if there are none."""
    if size == 1:
        return ()
    for order in (*_PALEY, 2):
        if size % order == 0 and (rest := _factors(size // order)) is not None:
            return (order, *rest)
    return None


def _sylvester() -> Array64:
    return np.array([[1.0, 1.0], [1.0, -1.0]])


def _paley(prime: int) -> Array64:
    """Of order ``prime`` + 1, for primes that leave 3 when divided by 4."""
    squares = set(np.arange(1, prime) ** 2 % prime)
    residue = np.array([0, *(1 if k in squares else -1 for k in range(1, prime))])
    numbers = np.arange(prime)
    skew = np.zeros((prime + 1, prime + 1))
    skew[0, 1:], skew[1:, 0] = 1, -1
    skew[1:, 1:] = residue[(numbers[:, None] - numbers) % prime]
    matrix: Array64 = skew + np.eye(prime + 1)
    return matrix
