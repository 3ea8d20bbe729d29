"""Run an image the way ONNX Runtime runs a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from pimc.errors import DataError, UsageError
from pimc.image.image import Image
from pimc.plan.records import layer_of
from pimc.runtime.crossbar import CrossbarLayer
from pimc.runtime.die.die import Die
from pimc.runtime.door.abilities import ReadsLayers
from pimc.runtime.door.device import Device
from pimc.runtime.door.program import program
from pimc.runtime.door.sim_driver import simulated
from pimc.runtime.graph.executor import ArrayCall, Executor
from pimc.runtime.physics.ir_drop import Method
from pimc.runtime.read.threads import torch_on_one

#: Samples to run at a time where nobody says otherwise: what an array reads for more no longer
#: fits a processor's caches, and takes longer a sample.
BATCH_SIZE = 16


@dataclass(frozen=True)
class NodeArg:
    """An input or output of a model; same fields as ONNX Runtime's."""

    name: str
    shape: list[int | str | None]
    type: str


class Session:
    """An image on a chip; has the methods of ``onnxruntime.InferenceSession``.

    Args:
        image: an image or the path of one.
        die: the simulated specimen, or a device that already holds the image. Without one
            the cells hold exactly what the image says and reads are free of noise.
        seed: seed of the read noise.
        device: torch device to compute on.
        ir_drop: how a simulated die's wires are taken into account: ``first`` order or ``exact``.

    Raises:
        ImageError: the image cannot be read.
        DeviceError: the die is of another chip, or the chip failed.
        UsageError: no such treatment of IR drop.
    """

    def __init__(
        self,
        image: str | Path | Image,
        die: Die | Device | None = None,
        *,
        seed: int = 0,
        converters: bool = True,
        device: str = "cpu",
        ir_drop: Method = "first",
    ) -> None:
        self.image = image if isinstance(image, Image) else Image.load(image)
        self._converters = converters
        self._torch_device = device
        self._ir_drop: Method = ir_drop
        self.device = self._attached(die or Die.ideal(), seed)
        self.layers = {
            layer.name: CrossbarLayer.of(self.image, layer, self.device, device)
            for layer in self.image.layers
        }
        graph = self.image.graph()
        self.inputs = [node_arg(value) for value in graph.graph.inputs]
        self.outputs = [node_arg(value) for value in graph.graph.outputs]
        self.executor = Executor(graph, device=device)

    def with_die(self, die: Die | Device, *, seed: int = 0) -> Session:
        """The same image on another die; all that does not depend on the die is shared.

        Args:
            die: the simulated specimen, or a device that already holds the image.
            seed: seed of the read noise.

        Raises:
            DeviceError: the die is of another chip, or the chip failed.
        """
        other = copy(self)
        other.device = other._attached(die, seed)
        other.layers = {
            name: replace(layer, device=other.device) for name, layer in self.layers.items()
        }
        return other

    def get_inputs(self) -> list[NodeArg]:
        """The model's inputs."""
        return self.inputs

    def get_outputs(self) -> list[NodeArg]:
        """The model's outputs."""
        return self.outputs

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, npt.NDArray[Any]]
    ) -> list[npt.NDArray[Any]]:
        """Outputs for inputs; all of them where ``output_names`` is None.

        Raises:
            UsageError: an unknown input or output name.
            DataError: an input of the wrong shape or type.
        """
        names = [arg.name for arg in self.outputs] if output_names is None else list(output_names)
        unknown = set(names) - {arg.name for arg in self.outputs}
        if unknown:
            raise UsageError(
                f"no such output: {', '.join(sorted(unknown))}",
                hint=f"outputs are {', '.join(arg.name for arg in self.outputs)}",
            )
        values = self.evaluate(self._checked(input_feed), want=names)
        return [_arrays(values[name]) for name in names]

    def evaluate(
        self,
        inputs: Mapping[str, torch.Tensor],
        *,
        want: Sequence[str] | None = None,
        array: ArrayCall | None = None,
    ) -> dict[str, torch.Tensor]:
        """Values by name as tensors; ``array`` replaces what array layers compute."""
        with torch.inference_mode(), self._threads():
            return self.executor.run(inputs, want=want, array=array or self.array)

    def array(self, node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        """What an array layer gives on the chip."""
        return self.layers[layer_of(node)](x)

    def _threads(self) -> AbstractContextManager[None]:
        """Torch's threads stay out of the way where reads have threads of their own."""
        chip = self.device
        whole = isinstance(chip, ReadsLayers) and all(map(chip.reads_whole, self.image.layers))
        return torch_on_one() if whole else nullcontext()

    def _attached(self, die: Die | Device, seed: int) -> Device:
        """The device that stands for ``die``; a simulated one is written first."""
        if not isinstance(die, Die):
            return die
        device = simulated(
            die,
            self.image,
            seed=seed,
            ir_drop=self._ir_drop,
            processor=self._torch_device,
            converters=self._converters,
        )
        program(self.image, device)
        return device

    def _checked(self, feed: Mapping[str, npt.NDArray[Any]]) -> dict[str, torch.Tensor]:
        expected = {arg.name: arg for arg in self.inputs}
        if set(feed) != set(expected):
            raise UsageError(
                f"inputs given: {', '.join(sorted(feed)) or 'none'}",
                hint=f"the model's inputs are {', '.join(expected)}",
            )
        return {
            name: torch.from_numpy(_fitting(np.asarray(value), expected[name])).to(
                self._torch_device
            )
            for name, value in feed.items()
        }


def inputs_of(image: Image) -> list[NodeArg]:
    """The inputs of an image's network, without a session."""
    return [node_arg(value) for value in image.graph().graph.inputs]


def node_arg(value: ir.Value) -> NodeArg:
    """The description of a graph input or output."""
    shape = [
        dim if isinstance(dim, int) else dim.value
        for dim in (value.shape.dims if value.shape else ())
    ]
    dtype = value.dtype or ir.DataType.FLOAT
    return NodeArg(str(value.name), shape, f"tensor({dtype.name.lower()})")


def _fitting(value: npt.NDArray[Any], arg: NodeArg) -> npt.NDArray[Any]:
    """``value`` if it has the type and shape of ``arg``."""
    fits = len(value.shape) == len(arg.shape) and all(
        not isinstance(want, int) or want == have
        for want, have in zip(arg.shape, value.shape, strict=True)
    )
    if not fits:
        raise DataError(
            f"shape {list(value.shape)} does not fit {arg.shape}",
            where=f"input {arg.name}",
            hint="give data of the model's input shape",
        )
    wanted = {"tensor(float)": np.float32, "tensor(int64)": np.int64}.get(arg.type)
    if wanted is np.int64 and value.dtype == np.float32 and (value == np.rint(value)).all():
        value = value.astype(np.int64)  # token numbers from a data file
    if wanted is not None and value.dtype != wanted:
        raise DataError(
            f"type {value.dtype} is not {np.dtype(wanted).name}",
            where=f"input {arg.name}",
            hint=f"convert it with .astype({np.dtype(wanted).name!r})",
        )
    # Writeable, because torch does not take over what is not: a mapped file, a received buffer.
    return np.require(value, requirements=["C", "W"])


def _arrays(value: Any) -> Any:
    """A tensor, or the tensors of a sequence, as NumPy has them."""
    return [_arrays(each) for each in value] if isinstance(value, list) else value.cpu().numpy()
