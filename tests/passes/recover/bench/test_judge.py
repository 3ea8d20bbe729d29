"""What counts as a change of the held-out loss."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from pimc.passes.recover.bench.judge import clear_change
from pimc.passes.recover.bench.state import Kept
from pimc.passes.recover.recovery import Stage
from pimc.passes.recover.train.trainer import Best

EACH = np.array([1.0, 2.0, 3.0, 4.0], np.float32)


class _Of:
    """Stands for a record of which only some fields are looked at."""

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)


@pytest.mark.parametrize(
    ("by", "change"),
    [
        ((-1.0, -1.0, -1.0, -1.1), 1),
        ((1.0, 1.0, 1.0, 1.1), -1),
        ((1.0, -1.0, 1.0, -0.9), 0),
        ((0.0, 0.0, 0.0, 0.0), 0),
        ((np.nan, 0.0, 0.0, 0.0), 0),
        ((np.inf, 0.0, 0.0, 0.0), 0),
    ],
)
def test_changes_beyond_chance_count(by: tuple[float, ...], change: int) -> None:
    each = EACH + np.array(by, np.float32)
    kept = cast("Best[Kept]", _Of(loss=float(EACH.mean()), value=_Of(each=EACH)))
    stage = cast(Stage, _Of(loss=float(each.mean())))
    assert clear_change(kept, stage, each) == change
