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
