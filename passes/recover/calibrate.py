"""Calibrate: gains and offsets of all columns from one run through the chip.

Layer by layer, in the order in which they run, each column's output is regressed on the
teacher's; later layers then see what the corrected earlier ones really give them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from pimc.image import Image, ImageLayer
from pimc.plan import layer_of
from pimc.runtime.executor import ArrayCall
from pimc.runtime.session import BATCH_SIZE, Session

#: Bounds of a gain relative to the one the layer has.
_GAIN_LIMITS = (0.5, 2.0)
#: Largest total of teacher features held in memory, in values.
_FEATURES = 64_000_000


def calibrate(
    session: Session, teacher: ArrayCall, inputs: torch.Tensor, chip: ArrayCall | None = None
) -> Image:
    """The image with gain and bias fitted to ``inputs`` (N, *shape).

    Args:
        chip: stands in for the session's chip where none is attached.
    """
    features = layer_outputs(session, teacher, inputs)
    fitted: dict[int, dict[str, npt.NDArray[np.float32]]] = {}

    def on_chip(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        name = layer_of(node)
        layer = session.layers[name].layer
        run = session.layers[name] if chip is None else partial(chip, node)
        y, slope, offset = brought_near(layer, read_in_parts(run, x), features.pop(name))
        # What is fitted stands in front of the values the layer had: y = gain · raw + bias.
        fitted[layer.index] = {
            "gain": layer.gain * slope.numpy(),
            "bias": layer.bias * slope.numpy() + offset.numpy(),
        }
        return y

    session.evaluate({session.get_inputs()[0].name: inputs}, array=on_chip)
    return session.image.updated(columns=fitted)


def layer_outputs(
    session: Session, array: ArrayCall, inputs: torch.Tensor
) -> dict[str, torch.Tensor]:
    """What every layer gives for ``inputs``, by name."""
    found: dict[str, torch.Tensor] = {}

    def noted(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        found[layer_of(node)] = y = array(node, x)
        return y

    session.evaluate({session.get_inputs()[0].name: inputs}, array=noted)
    return found


def brought_near(
    layer: ImageLayer, y: torch.Tensor, wanted: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A layer's outputs, every column brought as near as it gets; its slopes and offsets."""
    last = layer.window is None
    slope, offset = _regress(_columns(y, last), _columns(wanted, last))
    shape = (-1,) if last else (1, -1, *(1,) * (y.dim() - 2))
    return y * slope.view(shape) + offset.view(shape), slope, offset


def read_in_parts(read: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """What ``read`` gives for ``x``: all images at once would not fit a processor's caches."""
    return torch.cat([read(part) for part in x.split(BATCH_SIZE)])


def images_that_fit(session: Session, teacher: ArrayCall, one: torch.Tensor, most: int) -> int:
    """How many images' features fit into memory, ``most`` at most, judged by a single one."""
    values = 0

    def count(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        nonlocal values
        y = teacher(node, x)
        values += y.numel()
        return y

    session.evaluate({session.get_inputs()[0].name: one}, array=count)
    return max(1, min(most, _FEATURES // max(values, 1)))


def _columns(y: torch.Tensor, last: bool) -> torch.Tensor:
    """(columns, everything else)."""
    return y.movedim(-1 if last else 1, 0).flatten(1)


def _regress(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Slope and offset a row that bring ``x`` nearest to ``y``."""
    mean_x, mean_y = x.mean(dim=1), y.mean(dim=1)
    centred = x - mean_x[:, None]
    power = centred.square().mean(dim=1)
    slope = (centred * y).mean(dim=1) / power.clamp_min(torch.finfo(x.dtype).tiny)
    slope = torch.where(power > 0, slope.clamp(*_GAIN_LIMITS), torch.ones_like(slope))
    return slope, mean_y - slope * mean_x
