"""Windows resolve ONNX's auto_pad as its specification says."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pimc.plan.records import Window

Same = Literal["SAME_UPPER", "SAME_LOWER"]


@given(
    st.integers(1, 30),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from(["SAME_UPPER", "SAME_LOWER"]),
)
def test_same_gives_one_output_a_stride(
    length: int, kernel: int, stride: int, dilation: int, auto_pad: Same
) -> None:
    window = Window((kernel,), (stride,), (dilation,), (0, 0), auto_pad)
    begin, end = window.resolved_pads((length,))
    span = (kernel - 1) * dilation + 1
    steps = -(-length // stride)
    # No padding beyond what the last step needs; the odd one on the named side.
    assert begin + end == max((steps - 1) * stride + span - length, 0)
    extra = end - begin if auto_pad == "SAME_UPPER" else begin - end
    assert extra in (0, 1)


def test_two_dimensions_are_resolved_apart() -> None:
    window = Window((3, 4), (1, 1), (1, 1), (0, 0, 0, 0), "SAME_UPPER")
    assert window.resolved_pads((8, 8)) == (1, 1, 1, 2)


@pytest.mark.parametrize(("auto_pad", "pads"), [("NOTSET", (1, 2)), ("VALID", (0, 0))])
def test_explicit_and_valid(auto_pad: Literal["NOTSET", "VALID"], pads: tuple[int, ...]) -> None:
    assert Window((3,), (1,), (1,), (1, 2), auto_pad).resolved_pads((9,)) == pads
