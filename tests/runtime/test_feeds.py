"""What a network gets, as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pimc.data.dataset import Dataset
from pimc.runtime.feeds import feeds, in_double, samples_of, tensors
from pimc.runtime.session import NodeArg

FEED: dict[str, npt.NDArray[Any]] = {
    "x": np.ones((3, 2), np.float32),
    "ids": np.ones((3, 1), np.int64),
    "rate": np.array(8),
}


def test_types_and_shapes_stay() -> None:
    found = tensors(FEED)
    assert {name: value.dtype for name, value in found.items()} == {
        "x": torch.float32,
        "ids": torch.int64,
        "rate": torch.int64,
    }
    assert found["rate"].shape == ()
    assert samples_of(found) == 3


def test_only_real_numbers_become_float64() -> None:
    found = in_double(FEED)
    assert found["x"].dtype == torch.float64
    assert found["ids"].dtype == torch.int64


def test_what_cannot_be_written_to_is_copied() -> None:
    fixed = np.ones(3, np.float32)
    fixed.flags.writeable = False
    tensors({"x": fixed})["x"][0] = 5
    assert fixed[0] == 1


def test_batches_make_the_whole() -> None:
    data = Dataset.of({"a": np.arange(5), "b": np.arange(5) % 2}).on(
        [NodeArg("a", ["N"], "tensor(float)"), NodeArg("b", ["N"], "tensor(bool)")]
    )
    parts = list(feeds(data, 2))
    assert [len(part["a"]) for part in parts] == [2, 2, 1]
    assert torch.cat([part["b"] for part in parts]).tolist() == [False, True, False, True, False]
