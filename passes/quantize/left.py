"""What recovery leaves of a layer's write errors, judged before anything is written.

A column's error r costs rᵀ H r, H being the second moments of its inputs. Recovery writes a part
of the cells again, each so that it makes up for those of its column that stay: what no choice of
m rows can make up for is the Schur complement of H on the other rows. The rows are chosen one
after the other, each the one that leaves least (pivoted Cholesky, H. Harbrecht et al. 2012,
10.1016/j.apnum.2011.10.001), which is what recovery's greedy choice of writes comes to where
errors are alike. The cells that are taken are among the worst, so that of the others' errors the
largest are missing; writes of the last round stay as they land.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["LEFT_ALONE", "left_by_recovery"]

Array64 = npt.NDArray[np.float64]

#: Writes that recovery may do, as a part of all cells, and the part of them of its last round:
#: its defaults.
_BUDGET, _LAST_ROUND = 0.1, 0.4
#: What is left of the variance of normal errors without that part of them which is largest.
_WITHOUT_WORST = 0.561
#: Rows whose errors are counted as made up for, at most: more hardly matter, and take long.
_MOST = 512


def left_by_recovery(moments: Array64) -> Array64:
    """(groups,) part of the write errors' cost that is left after recovery.

    Args:
        moments: (groups, rows, rows) second moments of a layer's inputs about their mean.
    """
    groups, rows, _ = moments.shape
    power = np.einsum("gkk->gk", moments).copy()
    whole = power.sum(axis=1)
    safe = np.where(whole > 0, whole, 1.0)
    places = min(_BUDGET * rows, _MOST)
    group = np.arange(groups)
    left = power.copy()
    factors: list[Array64] = []
    share, fresh = np.ones(groups), np.zeros(groups)
    for step in range(int(np.ceil(places))):
        part = min(1.0, places - step)  # of the last row where rows do not come out even
        pivot = left.argmax(axis=1)
        size = np.sqrt(np.maximum(left[group, pivot], np.finfo(float).tiny))
        row = moments[group, pivot].copy()
        for factor in factors:
            row -= factor[group, pivot, None] * factor
        factors.append(row / size[:, None])
        taken = np.minimum(np.square(factors[-1]), left)
        fresh += part * power[group, pivot] / safe
        share -= part * taken.sum(axis=1) / safe
        left = left - taken
        left[group, pivot] = 0.0
    return np.where(whole > 0, _WITHOUT_WORST * share.clip(0.0, 1.0) + _LAST_ROUND * fresh, 1.0)


#: The same of inputs of which nothing is known: independent ones of equal strength.
LEFT_ALONE = float(left_by_recovery(np.eye(100)[None])[0])
