"""Values and gradients against torch's own functions, bit by bit."""

from __future__ import annotations

import pytest
import torch

from pimc.passes.recover.twin.straight import driven, mean_square, rounded, straight

LIMITS = [(0, 15), (-7, 7)]


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradient_of(x: torch.Tensor) -> torch.Tensor:
    assert x.grad is not None
    return x.grad


def plainly(x: torch.Tensor, limits: tuple[int, int]) -> torch.Tensor:
    codes = x.clamp(*limits)
    return codes + (codes.round() - codes).detach()


@pytest.mark.parametrize("limits", LIMITS)
def test_rounding_and_its_gradients_are_those_of_clamp(limits: tuple[int, int]) -> None:
    whole = torch.arange(limits[0] - 2, limits[1] + 3).float()
    ends = torch.tensor([float(end) for end in limits])
    beside = [torch.nextafter(ends, ends.new_tensor(way)) for way in (torch.inf, -torch.inf)]
    x = torch.cat([10 * drawn(500), whole, whole + 0.5, *beside])
    x = x[x != -torch.finfo(x.dtype).smallest_normal]
    x = x[(x == 0) | (x.abs() >= torch.finfo(x.dtype).tiny)]  # smaller ones count as zero
    weights, found = drawn(len(x), seed=1), []
    for function in (rounded, plainly):
        one = x.clone().requires_grad_()
        y = function(one, limits)
        (y * weights).sum().backward()
        found.append((y.detach(), gradient_of(one)))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert torch.equal(rounded(x, limits), found[1][0])
    assert not rounded(x, limits).requires_grad


@pytest.mark.parametrize("limits", LIMITS)
def test_a_dac_is_rounding_to_its_steps(limits: tuple[int, int]) -> None:
    x, weights, step, found = 3 * drawn(4, 5, 6), drawn(4, 5, 6, seed=1), 0.0731, []
    for function in (driven, lambda values, *_: plainly(values / step, limits) * step):
        one = x.clone().requires_grad_()
        y = function(one, step, limits)
        (y * weights).sum().backward()
        found.append((y.detach(), gradient_of(one)))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert torch.equal(driven(x, step, limits), found[1][0])
    with torch.no_grad():
        assert torch.equal(driven(x.clone().requires_grad_(), step, limits), found[1][0])


def test_the_mean_of_squares_has_torchs_gradients() -> None:
    x, scale = drawn(3, 7, 11), torch.tensor(0.37)
    found = []
    for function in (mean_square, lambda values: values.square().mean()):
        one = x.clone().requires_grad_()
        y = function(one) / scale
        y.backward()
        found.append((y.detach(), gradient_of(one)))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_a_value_passes_with_anothers_gradients() -> None:
    expected, given = drawn(5).requires_grad_(), drawn(5, seed=1)
    found = straight(expected, given)
    (3 * found).sum().backward()
    assert torch.equal(found.detach(), given)
    assert torch.equal(gradient_of(expected), torch.full((5,), 3.0))


def test_gradients_of_gradients_are_those_of_torch() -> None:
    x = drawn(20).requires_grad_()
    for function in (mean_square, lambda values: (rounded(values, (0, 1)) * values).sum()):
        (first,) = torch.autograd.grad(function(x), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        assert torch.isfinite(second).all()
        assert second.any()
