"""Fixed-point numbers for the fused read: what a bank holds, as 16-bit whole numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

_LARGEST = 2**15 - 1
_SUM = 2**31 - 1


@dataclass(frozen=True)
class Fixed:
    """Numbers ``whole · quantum``; a column's products with any drive fit into 32 bits."""

    whole: npt.NDArray[np.int16] = field(repr=False)
    quantum: float

    @staticmethod
    def of(values: npt.NDArray[np.floating], largest: int, step: float | None = None) -> Fixed:
        """The nearest fixed-point numbers for values (blocks, rows, columns).

        Args:
            largest: largest magnitude that a row is driven with.
            step: where it is given, its multiples are held exactly.
        """
        exact = values.astype(np.float64)
        height = exact.shape[1]
        magnitude = np.abs(exact)
        quantum = max(
            float(magnitude.max(initial=0.0)) / _LARGEST,
            # Rounding may add half a quantum a row.
            float(magnitude.sum(axis=1).max(initial=0.0)) * largest / (_SUM - height * largest / 2),
        )
        if quantum == 0.0:
            return Fixed(np.zeros(values.shape, np.int16), 1.0)
        if step is not None and step >= quantum:
            quantum = step / int(step / quantum)
        return Fixed(np.rint(exact / quantum).astype(np.int16), quantum)

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """The numbers themselves."""
        return (self.whole * self.quantum).astype(np.float32)
