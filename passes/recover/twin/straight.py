"""Gradients that are given: straight through what rounds or is read, and in one step of a mean.

Y. Bengio et al., arXiv 1308.3432.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F

__all__ = ["driven", "mean_square", "rounded", "straight"]


def straight(expected: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """The values of ``given`` with the gradients of ``expected``."""
    return _applied(_Straight, expected, given)


def rounded(x: torch.Tensor, limits: tuple[int, int]) -> torch.Tensor:
    """``x`` rounded and clipped to whole limits; gradients end where it is clipped.

    A value at a limit is not clipped.
    """
    found = x.detach().round().clamp_(*limits)
    if not x.requires_grad:
        return found
    return straight(F.hardtanh(x, *_beyond(limits, x.dtype)), found)


def driven(x: torch.Tensor, step: float, limits: tuple[int, int]) -> torch.Tensor:
    """``x`` as a DAC of this step gives it; gradients end where it is clipped.

    The same bits as ``rounded(x / step, limits) * step``, values and gradients.
    """
    if x.requires_grad and torch.is_grad_enabled():
        return _applied(_Driven, x, step, limits)
    return (x / step).round_().clamp_(*limits).mul_(step)


def mean_square(x: torch.Tensor) -> torch.Tensor:
    """The mean of all squares: as torch has it, with one pass back in place of four."""
    return _applied(_MeanSquare, x)


def _applied(function: type[torch.autograd.Function], *given: Any) -> torch.Tensor:
    return cast(torch.Tensor, function.apply(*given))


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, expected: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        """The value that was given."""
        return given.to(expected.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """To what was expected."""
        return gradients[0], None


class _Driven(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, step: float, limits: tuple[int, int]) -> torch.Tensor:
        """One new tensor, and one that is kept to tell what was clipped."""
        codes = x / step
        ctx.save_for_backward(codes)
        ctx.step, ctx.limits = step, limits
        return codes.round().clamp_(*limits).mul_(step)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Nothing where it was clipped."""
        (codes,) = ctx.saved_tensors
        ends = _beyond(ctx.limits, codes.dtype)
        inside = torch.ops.aten.hardtanh_backward(gradients[0] * ctx.step, codes, *ends)
        return inside.div_(ctx.step), None, None


class _MeanSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        """One number."""
        ctx.save_for_backward(x)
        return x.square().mean()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        """The same roundings as the gradients of ``mean`` and ``square`` one after the other."""
        (x,) = ctx.saved_tensors
        return cast(torch.Tensor, x * (2 * (gradients[0] / x.numel())))


@cache
def _beyond(limits: tuple[int, int], dtype: torch.dtype) -> tuple[float, float]:
    """The numbers next to the limits: torch's gradient of a clipped value ends at its own limits.

    That of ``clamp`` does not, and takes ten times as long on a processor.
    """
    ends = torch.tensor(limits, dtype=dtype)
    low, high = torch.nextafter(ends, ends.new_tensor([-torch.inf, torch.inf])).tolist()
    tiny = torch.finfo(dtype).tiny  # what is smaller counts as zero in some processors' modes
    return min(low, -tiny) if limits[0] == 0 else low, max(high, tiny)
