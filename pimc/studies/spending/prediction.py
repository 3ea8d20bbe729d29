"""What each layer's errors cost the network, predicted from gradients of the float network.

A layer that gives y + e in place of y moves the outputs so that the loss becomes ½ eᵀ F e, F being
the loss's curvature as seen from y. Gradients g of slopes of the outputs have F = E[g gᵀ]
(:mod:`pimc.passes.recover.twin.curvature`), so that

    ½ E[(g · e)²]                   what a perfect chip gives: rounding, DAC, ADC, reads
    ½ Σ_kn s σ²_kn E[(x gᵀ)²_kn]    what is written, σ_kn of a weight, and s what is left of it

are the two parts of a layer's damage. g · e is a sum over a whole sample, so errors that go
together over positions and columns count as they do. Errors of different cells are independent, but
for those of reference cells, which all weights of a row and tile share; so are those of layers.
Recovery finds the errors of reference cells and takes them off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip.codebook import Codebook, codebooks
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.layout.tile import block_size
from pimc.passes.quantize.left import left_by_recovery
from pimc.passes.quantize.quantize import second_moments
from pimc.plan.records import Layer, Plan, Quantized
from pimc.progress import Progress, silent
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array
from pimc.studies.spending.sensitivity import Columns, Sensitivity, sensitivities
from pimc.tasks.task import Task

__all__ = ["Damage", "damages"]


@dataclass(frozen=True)
class Damage:
    """What a layer's errors cost, in the unit of the loss that outputs are held to.

    Attributes:
        reading: what perfect cells give: rounding, converters, read noise.
        writing: what is left of write errors.
    """

    reading: float = 0.0
    writing: float = 0.0

    @property
    def total(self) -> float:
        """Both together."""
        return self.reading + self.writing


def damages(
    plan: Plan,
    image: Image,
    data: Dataset,
    *,
    task: Task | None = None,
    left: float | None = None,
    progress: Progress = silent,
) -> dict[str, Damage]:
    """The damage of every layer of a network, each on the inputs that the float network gives it.

    Args:
        plan: quantized.
        image: made of it.
        task: says what outputs are held to; judged by their shape if None.
        left: part of the write errors' variance that counts; what recovery leaves of it, layer by
            layer, if None.

    Raises:
        ModelError: gradients cannot reach a layer.
    """
    chip = image.chip
    books = codebooks(chip, (layer.mapping for layer in plan.layers))
    shared: Mapping[str, Columns] | None = None
    if left and chip.mapping.pedestal == "reference" and chip.reference_sigma_us:
        shared = {
            layer.name: _columns(layer, quantized, chip, book)
            for layer, quantized, book in zip(plan.layers, plan.quantized, books, strict=True)
        }
    found = sensitivities(
        Session(image, die=Die.ideal()),
        teacher_array(image),
        plan.layers,
        data,
        task=task,
        columns=shared,
        progress=progress,
    )
    return {
        layer.name: Damage(
            found[layer.name].reading / 2,
            _writing(layer, quantized, chip, book, found[layer.name], left) / 2,
        )
        if layer.name in found
        else Damage()  # of a body of control flow that did not run
        for layer, quantized, book in zip(plan.layers, plan.quantized, books, strict=True)
    }


def _scale(layer: Layer, quantized: Quantized) -> npt.NDArray[np.float64]:
    return quantized.scale.astype(np.float64).reshape(layer.groups, 1, layer.cols)


def _columns(layer: Layer, quantized: Quantized, chip: Chip, book: Codebook) -> Columns:
    together = 1 if book.layout == "arrays" else book.col_planes
    width = block_size(chip, book)[1] // together
    return Columns(_scale(layer, quantized), np.arange(layer.cols) // width)


def _writing(
    layer: Layer,
    quantized: Quantized,
    chip: Chip,
    book: Codebook,
    found: Sensitivity,
    left: float | None,
) -> float:
    """Expected square of what write errors move a slope by."""
    if found.weights is None or left == 0:
        return 0.0
    share: npt.NDArray[np.float64] | float = 1.0 if left is None else left
    if left is None:
        vectors = torch.cat(found.vectors).double().numpy()
        grouped = vectors.reshape(len(vectors), layer.groups, layer.rows).transpose(1, 0, 2)
        share = left_by_recovery(second_moments(grouped))
    sigma = _scale(layer, quantized) * book.sigma_us[quantized.codes[:, :, :]]
    moved = np.einsum("gkn,gkn->g", np.square(sigma), found.weights.double().numpy())
    if found.common is not None:
        # Cells of a weight in one tile have one reference cell, others have their own.
        one = book.layout == "columns"
        factor = book.coefficients.sum() ** 2 if one else np.square(book.coefficients).sum()
        common = found.common.double().sum(dim=(1, 2)).numpy()
        moved = moved + factor * chip.reference_sigma_us**2 * common
    return float((share * moved).sum())
