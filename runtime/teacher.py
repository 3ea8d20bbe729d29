"""The float network inside an image: what recovery distills from and accuracy is held against."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir
import torch

from pimc.errors import ImageError
from pimc.files.memory_map import let_go
from pimc.image.image import Image, ImageLayer
from pimc.plan.kernels import kernels_of_matrix
from pimc.plan.records import Window, layer_of
from pimc.plan.vectors import convolve
from pimc.runtime.graph.executor import ArrayCall

__all__ = ["TeacherLayer", "has_teacher", "teacher_array"]


@dataclass(frozen=True, eq=False)
class TeacherLayer:
    """One float layer.

    Attributes:
        weight: (rows, cols) of a matrix product; (groups · cols, channels a group, *kernel)
            of a convolution.
        bias: (groups · cols,).
    """

    window: Window | None
    groups: int
    weight: torch.Tensor = field(repr=False)
    bias: torch.Tensor = field(repr=False)

    @staticmethod
    def of(
        layer: ImageLayer,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> TeacherLayer:
        """The float layer that a layer of an image was made from.

        Raises:
            ImageError: the image was written without its teacher.
        """
        if layer.teacher_weight is None or layer.teacher_bias is None:
            raise ImageError(
                "the image holds no float weights",
                where=f"layer {layer.name}",
                hint="compile without --no-teacher",
            )
        matrix = torch.as_tensor(layer.teacher_weight.copy()).to(device, dtype)
        let_go(layer.teacher_weight)  # of an image that lies in a file
        bias = torch.as_tensor(layer.teacher_bias.copy()).to(device, dtype)
        window = layer.window
        if window is None:
            return TeacherLayer(None, layer.groups, matrix[0].contiguous(), bias)
        kernel = kernels_of_matrix(matrix, window.kernel)
        return TeacherLayer(window, layer.groups, kernel.contiguous(), bias)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output for its input, both in the shapes of the ONNX graph."""
        window = self.window
        if window is None:
            return x @ self.weight + self.bias
        return convolve(x, self.weight, self.bias, window, self.groups)


def has_teacher(image: Image) -> bool:
    """Whether an image holds the float weights of all its layers."""
    return all(layer.teacher_weight is not None for layer in image.layers)


def teacher_array(
    image: Image,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> ArrayCall:
    """What an executor needs to compute the array layers with the float weights.

    Gradients reach the layers' inputs; the weights are constants.

    Raises:
        ImageError: the image was written without its teacher.
    """
    layers = {
        layer.name: TeacherLayer.of(layer, device=device, dtype=dtype) for layer in image.layers
    }

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        return layers[layer_of(node)](x)

    return array
