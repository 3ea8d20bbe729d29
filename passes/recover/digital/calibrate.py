"""Calibrate: gains and offsets of all columns from one run through the chip.

Layer by layer, in the order in which they run, each column's output is regressed on the
teacher's; later layers then see what the corrected earlier ones really give them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import numpy as np
import onnx_ir as ir
import torch

from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.watch.layers import Shelf, layer_outputs
from pimc.plan.records import layer_of
from pimc.runtime.feeds import Feed
from pimc.runtime.graph.executor import ArrayCall
from pimc.runtime.ops.parts import by_samples
from pimc.runtime.session import BATCH_SIZE, Session

__all__ = [
    "Fit",
    "along",
    "as_spread",
    "calibrate",
    "fitted_line",
    "nearest",
    "without_runaways",
]

#: Slope and offset of every column.
Line: TypeAlias = tuple[torch.Tensor, torch.Tensor]
#: What finds them for rows of outputs and those wanted.
Fit: TypeAlias = Callable[[torch.Tensor, torch.Tensor], Line]

#: Bounds of a gain relative to the one the layer has.
_GAIN_LIMITS = (0.5, 2.0)
#: Outputs that are fitted at a time; the rest waits uncopied.
_AT_ONCE = 1 << 20
#: Outputs that lie so many spreads of the float network's away from it tell nothing of a column,
#: unless they are more than this part of all: then the column itself is off.
_RUNAWAY, _FEW = 3.0, 0.25


def nearest(x: torch.Tensor, y: torch.Tensor) -> Line:
    """Slope and offset a row that bring ``x`` nearest to ``y``."""
    mean_x, mean_y = x.mean(dim=1), y.mean(dim=1)
    centred = x - mean_x[:, None]
    power = centred.square().mean(dim=1)
    slope = (centred * y).mean(dim=1) / power.clamp_min(torch.finfo(x.dtype).tiny)
    slope = torch.where(power > 0, slope.clamp(*_GAIN_LIMITS), torch.ones_like(slope))
    return slope, mean_y - slope * mean_x


def as_spread(x: torch.Tensor, y: torch.Tensor) -> Line:
    """Slope and offset a row that give ``x`` the mean and the spread of ``y``.

    What is nearest is narrower than that by the errors of ``x``, layer after layer, which in a
    deep network costs more than the errors themselves.
    """
    mean_x, mean_y = x.mean(dim=1), y.mean(dim=1)
    spread = _variance(x).sqrt()
    ratio = _variance(y).sqrt() / spread.clamp_min(torch.finfo(x.dtype).tiny)
    slope = torch.where(spread > 0, ratio.clamp(*_GAIN_LIMITS), torch.ones_like(spread))
    return slope, mean_y - slope * mean_x


def without_runaways(fit: Fit, x: torch.Tensor, y: torch.Tensor) -> Line:
    """``fit`` without the outputs of samples for which the chip's network has run away.

    Where few levels leave large errors these may grow from layer to layer for a few samples, to
    many times what the float network ever gives. Left in, they would set the gain of every column.
    """
    spread = _variance(y).sqrt()[:, None]
    inside = x.clamp(y.amin(dim=1, keepdim=True), y.amax(dim=1, keepdim=True))
    slope, offset = fit(inside, y)
    away = (slope[:, None] * x).add_(offset[:, None]).sub_(y).abs_() > _RUNAWAY * spread
    kept = away.logical_not_()
    count = kept.sum(dim=1, keepdim=True)
    kept |= (spread == 0) | (count < (1 - _FEW) * x.shape[1])
    if bool(kept.all()):
        return fit(x, y)
    # In the middle of those that are left the others change neither slope nor offset.
    count = kept.sum(dim=1, keepdim=True)
    x, y = (
        torch.where(kept, v, torch.where(kept, v, 0).sum(1, keepdim=True) / count) for v in (x, y)
    )
    return fit(x, y)


def _variance(rows: torch.Tensor) -> torch.Tensor:
    """The variance of each row; torch's own takes eight times as long along a row."""
    return (rows - rows.mean(dim=1, keepdim=True)).square_().mean(dim=1)


def calibrate(
    session: Session,
    teacher: ArrayCall,
    inputs: Feed,
    chip: ArrayCall | None = None,
    *,
    fit: Fit = nearest,
    wanted: Shelf | None = None,
) -> Image:
    """The image with gain and bias fitted to ``inputs``, samples by input name.

    Args:
        chip: stands in for the session's chip where none is attached.
        wanted: what the float network's layers give for the inputs, if that is known.
    """
    chip = chip or session.array
    wanted = wanted or layer_outputs(session, teacher, inputs)
    repeated = {name for name, use in wanted.places if use}
    shared = _shared_lines(session, teacher, inputs, chip, fit, repeated)
    fitted = _one_by_one(session, inputs, chip, fit, shared, wanted)
    return session.image.with_layers(fitted)


def _one_by_one(
    session: Session,
    inputs: Feed,
    chip: ArrayCall,
    fit: Fit,
    shared: Mapping[str, Line],
    wanted: Shelf,
) -> Collection[ImageLayer]:
    """The layers fitted in the order in which they run; ``shared`` are known before."""
    fitted: dict[int, ImageLayer] = {}

    def on_chip(node: ir.Node, parts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        name = layer_of(node)
        layer = session.layers[name].layer
        found = [by_samples(partial(chip, node), x, BATCH_SIZE) for x in parts]
        line = shared.get(name) or fitted_line(layer, found, wanted.take((name, 0)), fit)
        slope, offset = line
        # What is fitted stands in front of the values the layer had: y = gain · raw + bias.
        fitted[layer.index] = replace(
            layer,
            gain=(layer.gain * slope.numpy()).astype(np.float32),
            bias=(layer.bias * slope.numpy() + offset.numpy()).astype(np.float32),
        )
        return [along(layer, y, line) for y in found]

    session.evaluate_together(inputs, on_chip)
    return fitted.values()


def _shared_lines(
    session: Session,
    teacher: ArrayCall,
    inputs: Feed,
    chip: ArrayCall,
    fit: Fit,
    names: Collection[str],
) -> dict[str, Line]:
    """Slopes and offsets of layers that a run uses several times, from all their uses.

    They are fitted on the float network's inputs: the first use comes before the last is known.
    """
    if not names:
        return {}
    found: dict[str, list[torch.Tensor]] = {}
    wanted: dict[str, list[torch.Tensor]] = {}

    def both(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        y, name = teacher(node, x), layer_of(node)
        if name in names:
            found.setdefault(name, []).append(by_samples(partial(chip, node), x, BATCH_SIZE))
            wanted.setdefault(name, []).append(y)
        return y

    session.evaluate(inputs, array=both)
    return {
        name: fitted_line(session.layers[name].layer, found[name], wanted[name], fit)
        for name in names
    }


def fitted_line(
    layer: ImageLayer,
    found: Sequence[torch.Tensor],
    wanted: Sequence[torch.Tensor],
    fit: Fit = nearest,
) -> Line:
    """Slope and offset of each column that bring ``found`` to ``wanted``."""
    axis = -1 if layer.window is None else 1
    count = -(-sum(y.numel() for y in found) // _AT_ONCE)
    parts = zip(_in_parts(found, axis, count), _in_parts(wanted, axis, count), strict=True)
    lines = (without_runaways(fit, ours, theirs) for ours, theirs in parts)
    slopes, offsets = zip(*lines, strict=True)
    return torch.cat(slopes), torch.cat(offsets)


def along(layer: ImageLayer, y: torch.Tensor, line: Line) -> torch.Tensor:
    """A layer's outputs, every column times its slope plus its offset; in place, they are large."""
    shape = (-1,) if layer.window is None else (1, -1, *(1,) * (y.dim() - 2))
    slope, offset = line
    return y.mul_(slope.view(shape)).add_(offset.view(shape))


def _in_parts(values: Sequence[torch.Tensor], axis: int, count: int) -> Iterator[torch.Tensor]:
    """Some columns of all values together, (columns, everything else), then the next ones."""
    cut = [y.movedim(axis, 0).tensor_split(max(1, count)) for y in values]
    for same in zip(*cut, strict=True):
        yield torch.cat([part.flatten(1) for part in same], dim=1)
