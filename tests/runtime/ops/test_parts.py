"""A function of many samples, some of them at a time."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from pimc.runtime.ops.layers.linear import conv
from pimc.runtime.ops.parts import by_samples


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 8])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_parts_are_put_together_in_order(step: int, count: int) -> None:
    x = torch.arange(count * 4.0).reshape(count, 4)
    met: list[int] = []

    def doubled(some: torch.Tensor) -> torch.Tensor:
        met.append(len(some))
        return 2 * some[:, None]

    y = by_samples(doubled, x, step)
    assert torch.equal(y, 2 * x[:, None])
    assert max(met) <= step
    assert sum(met) == count


def test_a_large_convolution_gives_what_its_samples_give_alone(monkeypatch) -> None:
    x = torch.randn(5, 3, 8, 9, generator=torch.Generator().manual_seed(1))
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(2))
    strided = partial(conv, weight=weight, auto_pad="SAME_UPPER", strides=(2, 2))
    alone = torch.cat([strided(one[None]) for one in x])
    sizes: list[int] = []
    told = torch.nn.functional.conv2d

    def counted(x: torch.Tensor, *others: Any) -> torch.Tensor:
        sizes.append(len(x))
        return told(x, *others)

    monkeypatch.setattr("pimc.runtime.ops.layers.linear._AT_ONCE", 2 * x[0].numel())
    monkeypatch.setitem(conv.__globals__["_CONV"], 2, counted)
    with torch.inference_mode():
        assert torch.allclose(strided(x), alone, atol=1e-6)
    assert sizes == [2, 2, 1]
