"""Everything is in one part, and no part is larger than may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pimc.work.parts import parts


@given(st.integers(0, 50), st.integers(0, 20), st.integers(1, 100))
def test_parts_follow_each_other(count: int, each: int, most: int) -> None:
    found = list(parts(count, each, most))
    assert [k for part in found for k in range(part.start, part.stop)] == list(range(count))
    for part in found:
        here = part.stop - part.start
        assert here * each <= most or here == 1
        # No more parts than that takes.
        assert part is found[-1] or (here + 1) * max(each, 1) > most
