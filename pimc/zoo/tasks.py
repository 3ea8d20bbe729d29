"""Tasks with settings of their own, for networks whose outputs need them."""

from __future__ import annotations

from pimc.tasks.speech import Speech

__all__ = ["LINES"]

#: Words between the space, which is the last of the tokens of PP-OCR.
LINES = Speech(blank=0, space=6624)
