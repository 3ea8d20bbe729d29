"""Identify from outputs: what the cells probably hold where only the network's outputs are known.

The twin is fitted to what the chip gave: every cell's own error and every row's common error,
in standard deviations of the chip's statistics, with the prior that these are normal. That is
the most probable die (maximum a posteriori). Outputs are far fewer than cells, so single cells
stay nearly as uncertain as before, and the estimate says so; what many cells do together to the
outputs is found, and is what gains, biases and rows can be corrected for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from pimc.data.dataset import Dataset
from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.estimate import CellEstimate, reference_variance
from pimc.passes.recover.train.trainer import Batch, Trainer
from pimc.passes.recover.twin.goal import Outputs
from pimc.passes.recover.twin.student import Student
from pimc.passes.recover.twin.twin import Twin, TwinLayer
from pimc.plan.kernels import kernels_of_matrix
from pimc.progress import Progress, silent

__all__ = ["FitOptions", "identify_outputs"]


@dataclass(frozen=True)
class FitOptions:
    """How the twin is fitted.

    Attributes:
        epochs, batch_size: over the inputs whose outputs are known.
        learning_rate: in standard deviations of a cell.
    """

    epochs: int = 8
    batch_size: int = 64
    learning_rate: float = 0.02


def identify_outputs(
    image: Image,
    estimates: Mapping[int, CellEstimate],
    student: Student,
    data: Dataset,
    given: Outputs,
    noise: Sequence[float],
    generator: torch.Generator,
    options: FitOptions | None = None,
    *,
    progress: Progress = silent,
) -> dict[int, CellEstimate]:
    """The estimates brought up to date with the network's outputs on the chip.

    Args:
        student: the graph and the twin as it is known so far.
        given: what the chip gave for ``data``.
        noise: variance of each output under a perfect twin: read noise and converters.

    Raises:
        ModelError: gradients cannot reach a layer.
    """
    student.check_gradients()
    options = options or FitOptions()
    cells = {
        layer.name: _Cells.of(image, layer, estimates[layer.index], student.twin.layers[layer.name])
        for layer in image.layers
    }
    trained = [values for each in cells.values() for values in (each.own, each.common)]

    def loss_of(batch: Batch) -> torch.Tensor:
        """How unlikely the die is that has these errors, as far as the batch tells."""
        found, _ = student.run(
            batch.feed, Twin({name: each.layer() for name, each in cells.items()})
        )
        away = [
            (ours - theirs[batch.chosen]).square().sum() / variance
            for ours, theirs, variance in zip(found, given, noise, strict=True)
        ]
        share = len(batch.chosen) / len(data)
        unlikely = [values.square().sum() * share for values in trained]
        return torch.stack([*away, *unlikely]).sum()

    parameters = [{"params": trained, "lr": options.learning_rate}]
    Trainer(parameters, loss_of, data, options.batch_size, generator, memory=student.memory).epochs(
        options.epochs, what="fitting the twin to the outputs", progress=progress
    )
    return {each.index: each.estimate() for each in cells.values()}


@dataclass(frozen=True, eq=False)
class _Cells:
    """The errors of one layer's cells, in standard deviations.

    Attributes:
        own: (blocks, rows, bitlines).
        common: (blocks, rows, col_blocks) that of the reference columns.
        sigma_us: (blocks, rows, bitlines) of a cell's own; 0 where there is none.
        place: (groups, rows, cols, planes) where a weight's cells lie among all.
        unit: (groups, 1, cols, planes) weight a µS.
    """

    twin: TwinLayer
    known: CellEstimate = field(repr=False)
    own: torch.nn.Parameter = field(repr=False)
    common: torch.nn.Parameter = field(repr=False)
    sigma_us: torch.Tensor = field(repr=False)
    common_sigma_us: float
    place: torch.Tensor = field(repr=False)
    unit: torch.Tensor = field(repr=False)

    @staticmethod
    def of(image: Image, layer: ImageLayer, known: CellEstimate, twin: TwinLayer) -> _Cells:
        shape, shared = known.mean_us.shape, reference_variance(image)
        own = np.where(known.present, np.maximum(known.variance - shared, 0.0), 0.0)
        scale = layer.scale.reshape(layer.groups, 1, layer.cols, 1)
        return _Cells(
            twin,
            known,
            torch.nn.Parameter(torch.zeros(shape)),
            torch.nn.Parameter(torch.zeros(*shape[:2], layer.col_blocks)),
            torch.from_numpy(np.sqrt(own)).float(),
            shared**0.5,
            torch.from_numpy(layer.by_weight(np.arange(np.prod(shape)).reshape(shape)).copy()),
            torch.from_numpy(scale * image.codebook_of(layer).coefficients).float(),
        )

    @property
    def index(self) -> int:
        """Number of the layer."""
        return self.twin.layer.index

    def error_us(self) -> torch.Tensor:
        """(blocks, rows, bitlines) what the cells are away from where they were known to be."""
        common = self.common[:, :, torch.from_numpy(self.twin.layer.block_of_bitline)]
        here = self.sigma_us > 0
        return self.sigma_us * self.own + self.common_sigma_us * torch.where(here, common, 0.0)

    def layer(self) -> TwinLayer:
        """The layer with these errors."""
        layer, kernel = self.twin.layer, self.twin.kernel
        added = (self.error_us().flatten()[self.place] * self.unit).sum(dim=3)
        if layer.window is None:
            return self.twin.with_kernel(kernel + added[0])
        return self.twin.with_kernel(kernel + kernels_of_matrix(added, layer.window.kernel))

    def estimate(self) -> CellEstimate:
        """The cells with these errors; how uncertain each is has hardly changed."""
        error: npt.NDArray[np.float64] = self.error_us().detach().double().numpy()
        return replace(self.known, mean_us=self.known.mean_us + error)
