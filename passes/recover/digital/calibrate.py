"""Calibrate: gains and offsets of all columns from one run through the chip.

Layer by layer, in the order in which they run, each column's output is regressed on the
teacher's; later layers then see what the corrected earlier ones really give them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import onnx_ir as ir
import torch

from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.watch.layers import layer_outputs, read_in_parts
from pimc.plan.records import layer_of
from pimc.runtime.feeds import Feed
from pimc.runtime.graph.executor import ArrayCall
from pimc.runtime.session import Session

__all__ = ["along", "calibrate", "fitted_line"]

#: Slope and offset of every column.
Line = tuple[torch.Tensor, torch.Tensor]

#: Bounds of a gain relative to the one the layer has.
_GAIN_LIMITS = (0.5, 2.0)


def calibrate(
    session: Session, teacher: ArrayCall, inputs: Feed, chip: ArrayCall | None = None
) -> Image:
    """The image with gain and bias fitted to ``inputs``, samples by input name.

    Args:
        chip: stands in for the session's chip where none is attached.
    """
    chip = chip or session.array
    features = layer_outputs(session, teacher, inputs)
    shared = _shared_lines(session, teacher, inputs, chip, {name for name, n in features if n})
    fitted: dict[int, ImageLayer] = {}

    def on_chip(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        name = layer_of(node)
        layer = session.layers[name].layer
        y = read_in_parts(partial(chip, node), x)
        line = shared.get(name) or fitted_line(layer, [y], [features.pop((name, 0))])
        slope, offset = line
        # What is fitted stands in front of the values the layer had: y = gain · raw + bias.
        fitted[layer.index] = replace(
            layer,
            gain=(layer.gain * slope.numpy()).astype(np.float32),
            bias=(layer.bias * slope.numpy() + offset.numpy()).astype(np.float32),
        )
        return along(layer, y, line)

    session.evaluate(inputs, array=on_chip)
    return session.image.with_layers(fitted.values())


def _shared_lines(
    session: Session,
    teacher: ArrayCall,
    inputs: Feed,
    chip: ArrayCall,
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
            found.setdefault(name, []).append(read_in_parts(partial(chip, node), x))
            wanted.setdefault(name, []).append(y)
        return y

    session.evaluate(inputs, array=both)
    return {
        name: fitted_line(session.layers[name].layer, found[name], wanted[name]) for name in names
    }


def fitted_line(
    layer: ImageLayer, found: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]
) -> Line:
    """Slope and offset of each column that bring ``found`` as near as it gets."""
    last = layer.window is None
    ours, theirs = (
        torch.cat([_columns(y, last) for y in values], dim=1) for values in (found, wanted)
    )
    return _regress(ours, theirs)


def along(layer: ImageLayer, y: torch.Tensor, line: Line) -> torch.Tensor:
    """A layer's outputs, every column times its slope plus its offset."""
    shape = (-1,) if layer.window is None else (1, -1, *(1,) * (y.dim() - 2))
    slope, offset = line
    return y * slope.view(shape) + offset.view(shape)


def _columns(y: torch.Tensor, last: bool) -> torch.Tensor:
    """(columns, everything else)."""
    return y.movedim(-1 if last else 1, 0).flatten(1)


def _regress(x: torch.Tensor, y: torch.Tensor) -> Line:
    """Slope and offset a row that bring ``x`` nearest to ``y``."""
    mean_x, mean_y = x.mean(dim=1), y.mean(dim=1)
    centred = x - mean_x[:, None]
    power = centred.square().mean(dim=1)
    slope = (centred * y).mean(dim=1) / power.clamp_min(torch.finfo(x.dtype).tiny)
    slope = torch.where(power > 0, slope.clamp(*_GAIN_LIMITS), torch.ones_like(slope))
    return slope, mean_y - slope * mean_x
