"""Cores on a mesh: those that exchange much close to each other, by simulated annealing.

What moves between cores pays for every hop; the sum of values times hops is what is made small
(Kirkpatrick et al. 1983, DOI 10.1126/science.220.4598.671). The optimum is a quadratic
assignment, which nobody solves exactly for more than some thirty cores.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_CORES", "annealed", "distances", "hops"]

Array64 = npt.NDArray[np.float64]
Order = npt.NDArray[np.int64]

#: Fixed, so that equal inputs give equal images.
_SEED = 19830513
#: Above this many cores their order stays.
MOST_CORES = 1024
#: Exchanges tried a core, and over all.
_TRIES, _MOST_TRIES = 400, 200_000
#: Temperature at the end, a part of that at the beginning.
_COLD = 1e-3


def distances(cores: int, mesh_cols: int) -> Array64:
    """Hops between every two cores, numbered row by row."""
    row, col = np.divmod(np.arange(cores), mesh_cols)
    apart = np.abs(row[:, None] - row) + np.abs(col[:, None] - col)
    return np.asarray(apart, np.float64)


def hops(traffic: Array64, distance: Array64, order: Order) -> float:
    """Values times hops, where what was ``traffic[i]`` sits on core ``order[i]``."""
    return float((traffic * distance[np.ix_(order, order)]).sum()) / 2


def annealed(traffic: Array64, distance: Array64, movable: int) -> Order:
    """The core of each of the parts between which ``traffic`` flows.

    Never worse than leaving part ``i`` on core ``i``.

    Args:
        traffic: (parts, parts), symmetric.
        distance: (parts, parts) of the cores, which are as many.
        movable: the first so many parts may change places.
    """
    order = np.arange(len(traffic))
    if movable < 2 or not traffic.any():
        return order
    rng = np.random.default_rng(_SEED)
    tries = min(_TRIES * movable, _MOST_TRIES)
    pairs = rng.integers(0, movable, (tries, 2))
    luck = np.log(rng.random(tries))
    warm = float(traffic.sum(axis=1).mean()) * float(distance.mean()) or 1.0
    cost = best_cost = hops(traffic, distance, order)
    best = order.copy()
    for step, (a, b) in enumerate(pairs.tolist()):
        change = _change(traffic, distance, order, a, b)
        temperature = warm * math.pow(_COLD, step / tries)
        if change <= 0 or luck[step] < -change / temperature:
            order[a], order[b] = order[b], order[a]
            cost += change
            if cost < best_cost * (1 - 1e-12):
                best, best_cost = order.copy(), cost
    return best


def _change(traffic: Array64, distance: Array64, order: Order, a: int, b: int) -> float:
    """By how much the sum grows if two parts change places."""
    if a == b:
        return 0.0
    further = distance[order[b], order] - distance[order[a], order]
    flow = traffic[a] - traffic[b]
    # The two keep their distance from each other.
    change = flow @ further - flow[a] * further[a] - flow[b] * further[b]
    return float(change)
