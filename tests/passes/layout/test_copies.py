"""Copies go to the layers that take longest, as far as the arrays reach."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pimc.errors import UsageError
from pimc.passes.layout.copies import PipelineLayer, pipeline_layers, share_out
from tests.passes.layout.networks import CHIP, separable, tiled


def test_stages_and_their_buffers() -> None:
    found = {stage.layer: stage for stage in pipeline_layers(tiled(separable()), CHIP)}
    # Three lines of six values of each channel; a 1×1 window needs one.
    assert {n: s.buffer_values for n, s in found.items()} == {"a": 36, "b": 432, "c": 144}
    assert found["b"].arrays == 24
    step_ns = CHIP.array.read_ns + 16 * CHIP.adc.convert_ns
    assert found["a"].busy_ns == pytest.approx(36 * step_ns)


LAYERS = [
    PipelineLayer("a", 2, 100.0, 1, 60),
    PipelineLayer("b", 1, 40.0, 1, 60),
    PipelineLayer("c", 5, 30.0, 1, 60),
]


@pytest.mark.parametrize(
    ("budget", "expected", "arrays", "interval"),
    [
        (8, (1, 1, 1), 8, 100.0),
        (9, (1, 1, 1), 8, 100.0),
        (10, (2, 1, 1), 10, 50.0),
        (12, (3, 1, 1), 12, 40.0),
        (13, (3, 2, 1), 13, 100 / 3),
        (15, (4, 2, 1), 15, 30.0),
        (20, (4, 2, 2), 20, 25.0),
    ],
)
def test_copies_go_to_the_slowest_stage(
    budget: int, expected: tuple[int, ...], arrays: int, interval: float
) -> None:
    found = share_out(LAYERS, budget)
    assert (found.copies, found.arrays) == (expected, arrays)
    assert found.interval_ns == pytest.approx(interval)


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.floats(1.0, 1e6), st.integers(1, 20)),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 60),
)
def test_copies_keep_to_the_budget(sizes: list[tuple[int, float, int]], spare: int) -> None:
    every = [
        PipelineLayer(str(k), arrays, ns, 1, lines) for k, (arrays, ns, lines) in enumerate(sizes)
    ]
    budget = sum(arrays for arrays, _, _ in sizes) + spare
    found = share_out(every, budget)
    assert found.arrays == sum(s.arrays * n for s, n in zip(every, found.copies, strict=True))
    assert found.arrays <= budget
    slowest = 0.0
    for (_, ns, lines), n in zip(sizes, found.copies, strict=True):
        assert n <= lines
        # One copy less would take longer.
        assert n == 1 or -(-lines // (n - 1)) > -(-lines // n)
        slowest = max(slowest, ns * -(-lines // n) / lines)
    assert found.interval_ns == pytest.approx(slowest)


def test_stages_that_take_no_time_are_not_copied() -> None:
    found = share_out([PipelineLayer("a", 1, 0.0, 1, 1000), PipelineLayer("b", 1, 0.0, 1, 5)], 5000)
    assert (found.copies, found.arrays) == ((1, 1), 2)


def test_stages_in_bodies_are_there_once() -> None:
    body = PipelineLayer("d", 3, None, 1, 1, in_body=True)
    found = share_out([*LAYERS, body], 13)
    assert (found.copies, found.arrays, found.interval_ns) == ((2, 1, 1, 1), 13, None)
    alone = share_out([body], 9)
    assert (alone.copies, alone.arrays, alone.interval_ns) == ((1,), 3, None)


def test_a_budget_too_small_and_shapes_not_known() -> None:
    with pytest.raises(UsageError, match="takes 8 arrays, the budget is 7"):
        share_out(LAYERS, 7)
    with pytest.raises(UsageError, match="how often each layer runs is not known"):
        share_out([*LAYERS, PipelineLayer("d", 1, None, None)], 100)
