"""What the digital side of a layer on the array computes with, as tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from pimc.image.drift import Compensation, bias_of, pedestal_us, worth_us
from pimc.image.image import Image, ImageLayer
from pimc.plan.records import Window
from pimc.runtime.read.digital_side import DigitalSide

__all__ = ["Digital", "as_read"]


@dataclass(frozen=True, eq=False)
class Digital:
    """The digital constants of a layer as tensors; letters: g groups, n outputs, q column
    blocks, c bitlines, k wordlines.

    Attributes:
        scale: (g·n, 1) output units per µS and DAC code, gain included, input scale not.
        bias: (g·n, 1).
        lsb: (g, c, 1) µS times DAC code a code, or one number.
        drive: (wordlines a weight, 1) what each gets a unit of input, or None for one wordline.
        factors: (bitlines a weight, 1).
        pedestal: (g·n, 1) µS, or None where every column's zero is the reference.
        row_correction: (g, q, k) µS, or None.
        residual: (g, n, k) weights that are added digitally, µS, or None.
        block_of_bitline: (c,) column block of each bitline.
        side: all of them as a device takes them that reads whole layers.
        rectified: the same with a rectifier behind; None where something else comes before it.
    """

    scale: torch.Tensor
    bias: torch.Tensor
    lsb: torch.Tensor | float
    drive: torch.Tensor | None
    factors: torch.Tensor
    pedestal: torch.Tensor | None
    row_correction: torch.Tensor | None
    residual: torch.Tensor | None
    block_of_bitline: torch.Tensor
    side: DigitalSide
    rectified: DigitalSide | None

    @staticmethod
    def of(
        image: Image,
        layer: ImageLayer,
        device: torch.device,
        drift: Compensation | None = None,
    ) -> Digital:
        """The constants of one layer of an image.

        Args:
            drift: what makes up for the age of the cells.
        """

        def tensor(values: object) -> torch.Tensor:
            return torch.as_tensor(values, dtype=torch.float32).to(device)

        book, lsb = image.codebook_of(layer), worth_us(image, layer, drift)
        pedestal = tensor(pedestal_us(image, layer, drift))
        correction, added = layer.row_correction, layer.residual
        columns, whole = (layer.groups, layer.cols, 1), as_read(layer)
        side = _side(image, whole, drift, biased=whole is layer)
        plain = whole is layer and added is None and len(book.factors) == 1
        return Digital(
            scale=tensor(layer.scale * layer.gain)[:, None],
            bias=tensor(bias_of(layer, drift))[:, None],
            lsb=lsb if isinstance(lsb, float) else tensor(lsb)[:, :, None],
            drive=tensor(book.drive)[:, None] if book.row_planes > 1 else None,
            factors=tensor(book.factors)[:, None],
            pedestal=pedestal[:, None] if bool(pedestal.any()) else None,
            row_correction=tensor(correction.copy()) if correction is not None else None,
            residual=None
            if added is None
            else tensor(added.transpose(0, 2, 1) / layer.scale.reshape(columns)),
            block_of_bitline=torch.as_tensor(layer.block_of_bitline).to(device),
            side=side,
            rectified=replace(side, least=0.0) if plain else None,
        )


def as_read(layer: ImageLayer) -> ImageLayer:
    """A layer as devices get it that read whole layers.

    Where every vector has a range of its own, and of volumes, input vectors are cut out, and made
    codes, before: what is left is a matrix product, or a convolution of single positions.
    """
    if layer.input_scale is not None and (layer.window is None or len(layer.window.kernel) < 3):
        return layer
    single = None if layer.window is None else Window((1,), (1,), (1,), (0, 0))
    return replace(layer, window=single, input_scale=1.0)


def _side(
    image: Image, layer: ImageLayer, drift: Compensation | None, *, biased: bool
) -> DigitalSide:
    """The digital constants as a device takes them.

    A single bitline a weight gives outputs, several give currents that are still to be combined.

    Args:
        layer: with an input scale.
        biased: outputs contain the bias.
    """
    book, lsb = image.codebook_of(layer), worth_us(image, layer, drift)
    gain = np.full((layer.groups, layer.bitlines), lsb) if isinstance(lsb, float) else lsb
    taps, taken = [], []
    pedestal = pedestal_us(image, layer, drift).reshape(layer.groups, layer.cols)
    if pedestal.any():
        # One wordline of every row, and one bitline of every weight, stand for all of them.
        taps.append(np.tile(np.arange(book.row_planes) == 0, (layer.groups, layer.rows)))
        first = _first_bitlines(layer)
        share = np.zeros((layer.groups, layer.bitlines))
        share[:, first] = pedestal / book.factors[0]
        taken.append(share)
    if layer.row_correction is not None:
        taps += list(layer.row_correction.transpose(1, 0, 2))
        inside = layer.block_of_bitline == np.arange(layer.col_blocks)[:, None]
        taken += [np.tile(block, (layer.groups, 1)) for block in inside]
    scale = np.ones(gain.size)
    offset: npt.NDArray[np.floating] = np.zeros(gain.size)
    if len(book.factors) == 1:
        scale = layer.scale.astype(np.float64) * layer.gain * (layer.input_scale or 1.0)
        if biased:
            offset = bias_of(layer, drift)
    height = layer.row_blocks * layer.row_block
    lines = np.zeros((len(taps), layer.groups, height))
    for number, tap in enumerate(taps):
        lines[number, :, : layer.wordlines] = tap
    amounts = np.asarray(taken).reshape(len(taps), gain.size).T * scale[:, None]
    return DigitalSide(
        gain=(gain.reshape(-1) * scale).astype(np.float32),
        offset=offset.astype(np.float32),
        taps=lines.reshape(len(taps), layer.groups * layer.row_blocks, layer.row_block).astype(
            np.float32
        ),
        taken=np.ascontiguousarray(amounts, dtype=np.float32),
    )


def _first_bitlines(layer: ImageLayer) -> npt.NDArray[np.int64]:
    """(outputs,) the first bitline of every weight's."""
    planes = layer.bitlines // layer.cols
    return np.arange(layer.cols) * (1 if layer.layout == "arrays" else planes)
