"""What cannot be asked of the compiler together is refused when it is asked."""

from __future__ import annotations

import pytest

from pimc.errors import UsageError
from pimc.passes.options import Options


def test_copies_need_arrays_and_a_packing_that_gains_by_them() -> None:
    with pytest.raises(UsageError, match="copies need arrays"):
        Options(packing="parallel", copies=0)
    with pytest.raises(UsageError, match="share arrays gain nothing") as caught:
        Options(copies=20)
    assert caught.value.hint == "choose the packing `parallel`"
    assert Options(packing=3, copies=20).copies == 20


def test_what_counts_of_write_errors_follows_the_purpose() -> None:
    assert Options().serves(calibrated=True) == "recovery"
    assert Options().serves(calibrated=False) == "as-programmed"
    assert Options().counted(calibrated=True) is None
    assert Options().counted(calibrated=False) == 1.0
    assert Options(purpose="as-programmed").counted(calibrated=True) == 1.0
    assert Options(purpose="recovery").counted(calibrated=False) is None
    for purpose in ("recovery", "as-programmed", None):
        assert Options(purpose=purpose, write_noise=0.2).counted(calibrated=True) == 0.2
