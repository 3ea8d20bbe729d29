"""What is prepared otherwise is told, with the mistake that made it; what is not is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pimc.data.layout import Preprocess
from pimc.data.preparation import LOOKED_AT, Prepared, Statistics, some_of, unlike

Array = np.ndarray[Any, Any]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pictures(count: int, seed: int, colours: tuple[float, ...] = (0.5, 0.45, 0.38)) -> Array:
    """Bytes (count, 3, 16, 16): smooth, each of its own brightness, channels that go together."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((count, 1, 4, 4)).repeat(4, axis=2).repeat(4, axis=3)
    light = rng.standard_normal((count, 1, 1, 1))
    tint = 0.04 * rng.standard_normal((count, 3, 1, 1))
    shares = np.reshape(colours, (1, 3, 1, 1)) + 0.15 * coarse + 0.12 * light + tint
    return (255 * shares.clip(0, 1)).astype(np.uint8)


def normalised(x: Array, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> Array:
    return (x - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))


def proper(raw: Array) -> Array:
    return normalised(raw / 255)


KNOWN = Prepared(255.0, MEAN, STD, 256, Statistics.of(proper(pictures(256, 0))))
TEST = pictures(128, 1)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (normalised(TEST.astype(float)), "bytes not divided by 255, it seems"),
        (TEST.astype(float), "bytes not divided by 255, and not normalised, it seems"),
        (normalised(TEST / 255 / 255), "divided by 255 twice, it seems"),
        (normalised(proper(TEST)), "normalised twice, it seems"),
        (TEST / 255, "not normalised (mean and std), it seems"),
        (normalised(TEST[:, ::-1] / 255), "the channels are in another order, it seems: RGB"),
        (
            proper(TEST.transpose(0, 2, 3, 1).reshape(TEST.shape)),
            "the axes are in another order, it seems: NHWC for NCHW",
        ),
        (7 * proper(TEST) + 20, "are they prepared as those were, with scale 255, mean [0.485,"),
    ],
)
def test_each_mistake_is_named(inputs: Array, said: str) -> None:
    found = unlike(KNOWN, inputs)
    assert found is not None
    assert found.startswith(said)


@pytest.mark.parametrize("count", [1, 4, 16, 100, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_other_samples_of_the_same_kind_are_left_alone(count: int, seed: int) -> None:
    assert unlike(KNOWN, proper(pictures(count, 100 + seed))) is None


def test_a_single_sample_says_little_but_bytes_are_bytes() -> None:
    one = pictures(1, 3)
    assert unlike(KNOWN, proper(one // 4)) is None
    assert "not divided by 255" in str(unlike(KNOWN, one.astype(float)))


def test_the_same_inputs_by_another_way_are_the_same() -> None:
    """Shares that are stored as they are need no scale."""
    shares = Prepared(1.0, MEAN, STD, 256, KNOWN.statistics)
    assert unlike(shares, proper(TEST)) is None
    assert "not divided by 255" in str(unlike(shares, normalised(TEST.astype(float))))


def test_a_difference_that_other_settings_explain_is_told_sooner() -> None:
    other = Preprocess(scale=255.0, mean=(0.565, 0.536, 0.486), std=STD)
    inputs = normalised(TEST / 255, other.mean)
    assert unlike(KNOWN, inputs) is None
    assert unlike(KNOWN, inputs, Preprocess(scale=255.0, mean=MEAN, std=STD)) is None
    assert "are they prepared as those were, with scale 255" in str(unlike(KNOWN, inputs, other))
    shares = Preprocess(mean=MEAN, std=STD)
    assert unlike(KNOWN, proper(TEST), shares) is None


def features(count: int, width: int) -> Array:
    return np.random.default_rng(0).standard_normal((count, width)) * np.arange(1, width + 1)


@pytest.mark.parametrize("made", [lambda x: x, lambda x: x[:20], lambda x: x[:, ::-1]])
def test_features_are_looked_at_together(made: Callable[[Array], Array]) -> None:
    known = Prepared(1.0, (0.0,), (1.0,), 100, Statistics.of(features(100, 30)))
    assert len(known.statistics.mean) == 1
    assert unlike(known, made(features(60, 30))) is None
    assert unlike(known, 300 * features(60, 30)) is not None


def test_nothing_is_raised_where_nothing_varies() -> None:
    flat = np.zeros((20, 1, 4, 4))
    known = Prepared(1.0, (0.0,), (1.0,), 20, Statistics.of(flat))
    assert unlike(known, flat) is None
    assert unlike(known, flat + 1) is not None
    assert unlike(KNOWN, np.zeros((20, 1, 16, 16))) is None  # of other channels: refused elsewhere


def test_statistics_have_few_digits_so_that_every_machine_finds_the_same() -> None:
    for value in (*KNOWN.statistics.mean, *KNOWN.statistics.std, KNOWN.statistics.high):
        assert value == float(f"{value:.3e}")


def test_no_more_samples_are_looked_at_than_needed() -> None:
    assert some_of(3).tolist() == [0, 1, 2]
    assert (len(some_of(10**6)), some_of(10**6)[-1]) == (LOOKED_AT, 10**6 - 1)
