"""Perplexity by window against torch's cross entropy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pimc.errors import DataError
from pimc.tasks.language import LanguageModel
from pimc.tasks.task import Samples

TASK = LanguageModel()


def logits(windows: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((windows, 9, 20)).astype(np.float32), rng.integers(
        0, 20, (windows, 9)
    )


def test_perplexity_is_the_exponential_of_the_cross_entropy() -> None:
    values, tokens = logits()
    tokens[2, 5:] = -100
    found = TASK.scores({"logits": values}, Samples({}, {"y": tokens}))
    wanted = F.cross_entropy(
        torch.from_numpy(values[:, :-1].reshape(-1, 20)), torch.from_numpy(tokens[:, 1:].ravel())
    )
    assert TASK.value(found) == pytest.approx(float(wanted.exp()))
    assert found[:, 1].tolist() == [8, 8, 4, 8, 8, 8]
    right = (values[:, :-1].argmax(axis=2) == tokens[:, 1:]).sum()
    assert TASK.figures(found)["next_token"] == pytest.approx(right / 44)


def test_the_input_and_its_mask_stand_for_tokens() -> None:
    values, tokens = logits()
    mask = np.ones_like(tokens)
    mask[1, 3:] = 0
    with_input = {"input_ids": tokens.astype(np.float32), "attention_mask": mask}
    found = TASK.scores({"logits": values}, Samples(with_input, {}))
    targets = {"y": np.where(mask > 0, tokens, -1)}
    np.testing.assert_array_equal(found, TASK.scores({"logits": values}, Samples({}, targets)))


def test_the_interval_covers_the_perplexity_of_all_windows() -> None:
    rng, covered = np.random.default_rng(1), 0
    for _ in range(300):
        count = rng.integers(5, 50, 100).astype(float)
        told = rng.gamma(2.0, 1.0, (100, 50))
        told = np.array([row[: int(n)].sum() for row, n in zip(told, count, strict=True)])
        low, high = TASK.interval([np.stack([told, count, count], axis=1)])
        covered += low <= np.exp(2.0) <= high
    assert 0.9 < covered / 300 < 0.99


def test_tokens_that_do_not_fit_are_refused() -> None:
    values, tokens = logits()
    with pytest.raises(DataError, match=r"no tokens of shape \[6, 9\]"):
        TASK.scores({"logits": values}, Samples({}, {}))
    with pytest.raises(DataError, match="token 20 is beyond the vocabulary of 20"):
        TASK.scores({"logits": values}, Samples({}, {"y": np.full_like(tokens, 20)}))


@pytest.mark.parametrize("other", ["attention_mask", "position_ids", "token_type_ids"])
def test_masks_and_positions_that_come_first_are_no_tokens(other) -> None:
    values, tokens = logits()
    inputs = {other: np.ones_like(tokens), "input_ids": tokens}
    found = TASK.scores({"logits": values}, Samples(inputs, {}))
    wanted = TASK.scores({"logits": values}, Samples({}, {"y": tokens}))
    np.testing.assert_array_equal(found, wanted)


def test_a_mask_counts_for_the_last_tokens_where_it_is_longer() -> None:
    values, tokens = logits()
    mask = np.ones((6, 12), int)
    mask[0, -2:] = 0
    found = TASK.scores({"logits": values}, Samples({"attention_mask": mask}, {"y": tokens}))
    assert found[:, 1].tolist() == [6, 8, 8, 8, 8, 8]
    with pytest.raises(
        DataError, match=r"attention_mask has shape \[6, 4\] and must have \[6, 9\]"
    ):
        TASK.scores({"logits": values}, Samples({"attention_mask": mask[:, :4]}, {"y": tokens}))


def test_tokens_are_whole_numbers() -> None:
    values, tokens = logits()
    with pytest.raises(DataError, match="y holds float64, not whole numbers"):
        TASK.scores({"logits": values}, Samples({}, {"y": tokens + 0.6}))
