"""What every contender simulates: one chip, so that times can be compared."""

from __future__ import annotations

ROWS = 128
COLS = 128
LEVELS = 16
DAC_BITS = 8
ADC_BITS = 8
#: Standard deviation of a write over the conductance range.
WRITE_ERROR = 0.05
#: Standard deviation of a read over the conductance.
READ_NOISE = 0.01
#: Seed of everything that is drawn.
SEED = 0
