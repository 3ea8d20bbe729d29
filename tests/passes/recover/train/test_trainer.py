"""The trainer: order of the inputs, learning rate, epochs, and the best of what was judged."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

import numpy as np
import pytest
import torch

from pimc.data.dataset import Dataset
from pimc.passes.recover.train.trainer import Batch, Best, Trainer

X = np.arange(10, dtype=np.float32)[:, None]


def trainer(
    seen: list[Batch], parameter: torch.nn.Parameter | None = None, **changes: Any
) -> Trainer:
    """Trains one number down a steady slope: Adam's steps are then its learning rate."""
    value = torch.nn.Parameter(torch.tensor(0.0)) if parameter is None else parameter

    def loss_of(batch: Batch) -> torch.Tensor:
        seen.append(batch)
        return value.sum()

    given = {"data": Dataset.of(X), "batch_size": 4, "generator": seeded(0), **changes}
    return Trainer([{"params": [value], "lr": 0.1}], loss_of, **given)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_epoch_meets_every_input_once_in_another_order() -> None:
    seen: list[Batch] = []
    trainer(seen).epochs(3)
    assert [(batch.epoch, batch.number) for batch in seen] == [
        (epoch, number) for epoch in range(3) for number in range(3)
    ]
    orders = [
        np.concatenate([batch.chosen for batch in seen if batch.epoch == epoch]).tolist()
        for epoch in range(3)
    ]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    for batch in seen:
        np.testing.assert_array_equal(batch.feed["x"].numpy(), X[batch.chosen])
        assert len(batch.chosen) in (3, 4)


def test_the_order_is_that_of_the_generator() -> None:
    runs: list[list[Batch]] = [[], [], []]
    for seen, seed in zip(runs, (5, 5, 6), strict=True):
        trainer(seen, generator=seeded(seed)).epochs(1)
    first, again, other = ([batch.chosen.tolist() for batch in seen] for seen in runs)
    assert first == again != other


def test_steps_end_within_an_epoch_and_draw_no_more() -> None:
    seen: list[Batch] = []
    generator = seeded(1)
    trainer(seen, generator=generator).steps(4)
    assert [(batch.epoch, batch.number) for batch in seen] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    twice = seeded(1)
    for _ in range(2):
        torch.randperm(10, generator=twice)
    assert torch.equal(generator.get_state(), twice.get_state())


@pytest.mark.parametrize("annealed", [True, False])
def test_the_learning_rate_falls_along_a_cosine_or_stays(annealed) -> None:
    value = torch.nn.Parameter(torch.tensor(0.0))
    places: list[float] = []

    def judge(epoch: int) -> bool:
        places.append(float(value.detach()))
        return True

    trainer([], value, annealed=annealed).epochs(2, judge)
    rates = 0.05 * (1 + np.cos(np.pi * np.arange(6) / 6)) if annealed else np.full(6, 0.1)
    assert places == pytest.approx([-rates[:3].sum(), -rates.sum()], rel=1e-4)


def test_the_judge_ends_it() -> None:
    seen: list[Batch] = []
    judged: list[int] = []

    def judge(epoch: int) -> bool:
        judged.append(epoch)
        return epoch < 1

    trainer(seen).epochs(5, judge)
    assert judged == [0, 1]
    assert len(seen) == 6
    trainer(seen).epochs(0, judge)
    assert judged == [0, 1]


def test_what_is_going_on_is_told() -> None:
    told: list[tuple[str, int | None]] = []

    def progress(iterable: Any, description: str, total: int | None = None) -> Any:
        told.append((description, total))
        return iterable

    trainer([]).epochs(2, what="epochs", progress=progress)
    trainer([]).steps(7, what="steps", progress=progress)
    assert told == [("epochs", 2), ("steps", 7)]


def test_the_best_is_kept_and_its_age() -> None:
    asked: list[str] = []

    def value(name: str) -> Callable[[], str]:
        def made() -> str:
            asked.append(name)
            return name

        return made

    best: Best[str] | None = None
    for name, loss in (("a", 3.0), ("b", 2.0), ("c", 2.0), ("d", nan)):
        best = Best.of(best, loss, value(name))
    assert best == Best(2.0, "b", 2)
    assert asked == ["a", "b"]
    assert Best.of(Best(inf, "as it was"), inf, value("e")) == Best(inf, "as it was", 1)


def test_parts_of_a_batch_have_the_gradient_of_the_whole() -> None:
    """However few inputs fit into memory at once, the same is trained."""

    def trained(at_once: int | None) -> tuple[torch.Tensor, list[int]]:
        slope, sizes = torch.nn.Parameter(torch.zeros(1)), []

        def loss_of(batch: Batch) -> torch.Tensor:
            sizes.append(len(batch.chosen))
            x = batch.feed["x"]
            return (slope * x - 3 * x.square()).square().mean()

        generator = seeded(0)
        parameters = [{"params": [slope], "lr": 0.1}]
        Trainer(parameters, loss_of, Dataset.of(X), 10, generator, at_once=at_once).epochs(5)
        return slope.detach(), sizes

    (whole, batches), (parts, cut) = trained(None), trained(3)
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=0)
    assert set(batches) == {10}
    assert set(cut) == {2, 3}
