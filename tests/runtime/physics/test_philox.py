"""Philox4x32-10 gives the published numbers, and its draws have the promised distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pimc.runtime.physics.philox import normal, philox, uniform


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        # Known-answer vectors of Random123, DOI 10.1145/2063384.2063405.
        ("00000000 00000000 00000000 00000000", "00000000 00000000",
         "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
         "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)  # fmt: skip
def test_known_answers(counter: str, key: str, expected: str) -> None:
    c0, c1, c2, c3 = (np.array([int(word, 16)], np.uint32) for word in counter.split())
    k0, k1 = (int(word, 16) for word in key.split())
    words = philox((c0, c1, c2, c3), (k0, k1))
    assert [f"{int(word[0]):08x}" for word in words] == expected.split()


def test_counters_broadcast() -> None:
    column, row = np.arange(3, dtype=np.uint32)[:, None], np.arange(4, dtype=np.uint32)
    zero = np.zeros(1, np.uint32)
    words = philox((column, row, zero, zero), (7, 9))
    assert all(word.shape == (3, 4) and word.dtype == np.uint32 for word in words)
    (one, *_) = philox((column[2], row[1:2], zero, zero), (7, 9))
    assert words[0][2, 1] == one[0]


def test_a_draw_is_52_bits_of_the_words_of_its_cell_and_seed() -> None:
    seed, stream, cell, count = 0x299F31D0_A4093822, 0x03707344, 0x85A308D3_243F6A88, 0x13198A2E
    # The third known answer: its first word and the upper 20 bits of the second.
    wanted = (0xD16CFE09_94FDC + 0.5) / 2**52
    assert uniform(seed, stream, np.array([cell], np.uint64).view(np.int64), count)[0] == wanted


def test_uniform() -> None:
    draws = uniform(1, 0, np.arange(200_000))
    assert 0.0 < draws.min() < 1e-4
    assert 1 - 1e-4 < draws.max() < 1.0
    assert stats.kstest(draws, "uniform").pvalue > 0.01


def test_normal() -> None:
    assert stats.kstest(normal(2, 0, np.arange(200_000)), "norm").pvalue > 0.01


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 6},
        {"seed": 5 + 2**32},  # the upper half of the seed counts
        {"stream": 1},
        {"count": 1},
        {"first": 2**32},  # so does the upper half of the address
    ],
)
def test_draws_are_independent_of_each_other(other: dict[str, int]) -> None:
    def draw(seed: int = 5, stream: int = 0, count: int = 0, first: int = 0) -> np.ndarray:
        return normal(seed, stream, first + np.arange(50_000), count)

    correlation = np.corrcoef(draw(), draw(**other))[0, 1]
    assert abs(correlation) < 4 / 50_000**0.5


@given(st.permutations(range(40)), st.integers(0, 2**64 - 1))
def test_a_draw_depends_on_its_cell_alone(order: list[int], seed: int) -> None:
    cells = np.asarray(order, np.int64) * 1_000_003
    together = uniform(seed, 3, cells, 2)
    alone = [uniform(seed, 3, cells[i : i + 1], 2)[0] for i in range(len(cells))]
    assert together.tolist() == alone
