"""Slopes: scalars of the outputs whose squared gradient is, in expectation, a loss's curvature.

Near the float network a distance of outputs is half of eᵀ H e, e being what they are away. With
H = A Aᵀ and ε a standard normal vector, A ε is a direction v with E[(vᵀ e)²] = eᵀ H e, and a
gradient of vᵀ z brings it back to any value inside the network (the generalized Gauss-Newton
matrix, N. Schraudolph 2002, 10.1162/08997660260028683). Of a divergence of classes at temperature
T, H = diag(q) − q qᵀ with q = softmax(z / T). Unlike the gradient for a class that is drawn, such a
direction is of the same size for every sample, however sure the network is, so that few
samples and directions tell the curvature.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

__all__ = ["SLOPES", "Slope"]

#: (outputs, those of the float network, temperature, generator) → scalar.
Slope = Callable[[torch.Tensor, torch.Tensor, float, torch.Generator], torch.Tensor]

#: Least probability told apart from zero: of classes, and of labels.
_LEAST, _LEAST_LABEL = 1e-7, 1e-6


def _drawn(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(like.shape, generator=generator)


def _of_classes(
    ours: torch.Tensor, theirs: torch.Tensor, temperature: float, generator: torch.Generator
) -> torch.Tensor:
    """Of logits, classes last."""
    share = F.softmax(theirs / temperature, dim=-1)
    root, drawn = share.sqrt(), _drawn(share, generator)
    direction = root * drawn - share * (root * drawn).sum(dim=-1, keepdim=True)
    return (direction * ours).sum()


def _logits(
    ours: torch.Tensor, theirs: torch.Tensor, temperature: float, generator: torch.Generator
) -> torch.Tensor:
    return _of_classes(ours, theirs, temperature, generator)


def _probabilities(
    ours: torch.Tensor, theirs: torch.Tensor, temperature: float, generator: torch.Generator
) -> torch.Tensor:
    logs = theirs.clamp_min(_LEAST).log()
    return _of_classes(ours.clamp_min(_LEAST).log(), logs, temperature, generator)


def _tokens(
    ours: torch.Tensor, theirs: torch.Tensor, temperature: float, generator: torch.Generator
) -> torch.Tensor:
    """A mean over the positions of a sample."""
    positions = math.prod(theirs.shape[1:-1])
    return _of_classes(ours, theirs, temperature, generator) / math.sqrt(max(positions, 1))


def _pixels(
    ours: torch.Tensor, theirs: torch.Tensor, temperature: float, generator: torch.Generator
) -> torch.Tensor:
    return _tokens(ours.movedim(1, -1), theirs.movedim(1, -1), temperature, generator)


def _labels(
    ours: torch.Tensor, theirs: torch.Tensor, temperature: float, generator: torch.Generator
) -> torch.Tensor:
    if bool((theirs >= 0).all()) and bool((theirs <= 1).all()):
        ours, theirs = (torch.logit(values, _LEAST_LABEL) for values in (ours, theirs))
    share = (theirs / temperature).sigmoid()
    return ((share * (1 - share)).sqrt() * _drawn(share, generator) * ours).sum()


def _directions(
    ours: torch.Tensor, theirs: torch.Tensor, temperature: float, generator: torch.Generator
) -> torch.Tensor:
    unit = F.normalize(ours.flatten(1), dim=1)
    return math.sqrt(2) * (unit * _drawn(unit, generator)).sum()


def _values(
    ours: torch.Tensor, theirs: torch.Tensor, temperature: float, generator: torch.Generator
) -> torch.Tensor:
    """A mean over the values of a sample, over their variance."""
    each = theirs[0].numel() if theirs.dim() and len(theirs) else 1
    size = max(each, 1) * theirs.var(correction=0).clamp_min(1e-12)
    return torch.sqrt(2 / size) * (ours * _drawn(ours, generator)).sum()


#: By the kind of an output.
SLOPES: Mapping[str, Slope] = {
    "logits": _logits,
    "probabilities": _probabilities,
    "values": _values,
    "labels": _labels,
    "tokens": _tokens,
    "pixels": _pixels,
    "directions": _directions,
}
