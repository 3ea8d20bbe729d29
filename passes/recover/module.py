"""Out to PyTorch: an image as a module that computes as a simulated die does, and can be trained.

The layers are those that recoveries train: :class:`~pimc.passes.recover.twin.noisy.NoisyLayer`, on
a :class:`~pimc.passes.recover.twin.specimen.Specimen` that holds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx_ir as ir
import torch

from pimc.errors import DataError, UsageError
from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.twin.forward import as_read
from pimc.passes.recover.twin.noisy import NoisyLayer, written
from pimc.passes.recover.twin.specimen import Specimen
from pimc.passes.recover.twin.student import require_gradients
from pimc.passes.recover.twin.twin import Twin
from pimc.plan.records import layer_of
from pimc.runtime.die.die import Die
from pimc.runtime.graph.executor import ArrayCall, Executor
from pimc.runtime.ort.arguments import fitting
from pimc.runtime.session import NodeArg, inputs_of

__all__ = ["ChipModule", "Through", "module"]

Through = Literal["chip", "cells", "weights"]


def module(
    image: Image | str | Path,
    die: Die | None = None,
    *,
    fresh: bool = False,
    through: Through = "chip",
    converters: bool = True,
    seed: int = 0,
) -> ChipModule:
    """An image as a ``torch.nn.Module``: what a simulated die gives, with gradients.

    Args:
        image: an image of any kind, or its file.
        die: the specimen, which is not changed; perfect cells without noise if None.
        fresh: in ``train()`` every forward pass meets a die that is drawn anew, and in ``eval()``
            ``die``; else both meet ``die``.
        through: what values come from; see :class:`ChipModule`.
        converters: False leaves the ADC out.
        seed: of read noise, as of a session, and of the dies that are drawn.

    Raises:
        DeviceError: the die is of another chip.
        UsageError: ``die`` is no simulated one, or ``through`` is nothing of the above.
    """
    image = Image.load(image) if isinstance(image, str | Path) else image
    return ChipModule(image, die, fresh, through, seed, converters=converters)


class ChipModule(torch.nn.Module):
    """An image's network; make one with :meth:`~pimc.image.image.Image.module`.

    Inputs are tensors in the order of the network's inputs, or by their names; outputs are one
    tensor, or a tuple of them in the network's order. In ``eval()`` a module through the chip gives
    what a session of the same image, die and seed gives. Gradients pass straight through rounding,
    errors, noise and the ADC, but not through the clipping of inputs.

    Attributes:
        layers: one an array layer, in the image's order. Each has the parameters ``weight``
            (groups, rows, columns), ``gain`` and ``bias`` (groups · columns,): outputs are
            ``gain · (input @ weight) + bias``.
        through: ``chip``: what the die reads. ``cells``: inputs rounded to
            DAC codes, times what the die's cells amount to; no noise of reads, no ADC. ``weights``:
            the weights as they are, the noiseless path.
    """

    def __init__(
        self,
        image: Image,
        die: Die | None,
        fresh: bool,
        through: Through,
        seed: int,
        *,
        converters: bool,
    ) -> None:
        super().__init__()
        if not isinstance(die, Die | None):
            raise UsageError(
                "a module stands on simulated dies only",
                where=type(die).__name__,
                hint="give pimc.Die.simulated(seed), or a Die read from its file",
            )
        if die is not None and die.chip is not None and _aged(image, die):
            raise UsageError(
                "a module does not follow drift, and this die has aged",
                where=die.name,
                hint="take the compensation off with `pimc compensate --off`, or read it by a "
                "Session",
            )
        self.source, self.fresh, self.through = image, fresh, through
        made = [NoisyLayer.at(image, layer) for layer in image.layers]
        self.layers = torch.nn.ModuleList(made)
        self._specimen = Specimen(image, die or Die.ideal(), seed, converters=converters)
        self._executors: dict[tuple[torch.device, torch.dtype], Executor] = {}
        self._trainable = False  # not asked yet
        self._initial = [value.detach().clone() for value in self.parameters()]

    @property
    def through(self) -> Through:
        """What values come from; it may be set at any time.

        Raises:
            UsageError: it is set to nothing of the above.
        """
        return self._through

    @through.setter
    def through(self, through: Through) -> None:
        if through not in get_args(Through):
            choices = ", ".join(get_args(Through))
            raise UsageError(f"{through!r} is none of {choices}", "through", "give one of them")
        self._through: Through = through

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Outputs for inputs.

        Raises:
            ModelError: gradients cannot reach a layer.
            DataError: an input of another shape or type.
            UsageError: other inputs than the network's, or a type that the module has not.
        """
        executor = self._executor()
        feed = _feed(inputs_of(self.source), inputs, named, self._place()[1])
        values = executor.run(feed, array=self._array())
        outputs = tuple(values[name] for name in executor.output_names)
        return outputs[0] if len(outputs) == 1 else outputs

    def image(self, *, teacher: bool = True) -> Image:
        """The image with the levels, gains and biases of now; the same one where none changed.

        Scales and ranges stay; every weight takes the nearest level.

        Args:
            teacher: the float network of the new image is this module through its weights, which
                recoveries then distill from; else the old image's is kept.
        """
        pairs = zip(self.parameters(), self._initial, strict=True)
        if all(torch.equal(value.detach().cpu(), before.cpu()) for value, before in pairs):
            return self.source
        found = written(self.source, self._noisy)
        if not teacher or any(layer.teacher_weight is None for layer in found.layers):
            return found
        both = zip(found.layers, self._noisy, strict=True)
        return found.with_layers(_taught(layer, noisy) for layer, noisy in both)

    def extra_repr(self) -> str:
        """See torch's."""
        fresh = ", fresh dies in training" * self.fresh
        return f"{self.source.model.name}, through the {self.through}{fresh}"

    @property
    def _noisy(self) -> Sequence[NoisyLayer]:
        return [layer for layer in self.layers if isinstance(layer, NoisyLayer)]

    def _array(self) -> ArrayCall:
        """What array layers give, the die written first where weights have changed."""
        layers = {noisy.layer.name: noisy for noisy in self._noisy}
        if self.through == "weights":

            def exact(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
                return layers[layer_of(node)].exact(x)

            return exact
        processor = str(self._place()[0])
        self._specimen.write(self._noisy, processor, fresh=self.fresh and self.training)
        twin = Twin(layers)
        return twin if self.through == "cells" else as_read(twin, self._specimen.chip(self._noisy))

    def _place(self) -> tuple[torch.device, torch.dtype]:
        first = next(self.parameters())
        known = (torch.float32,) if self.through == "chip" else (torch.float32, torch.float64)
        if first.dtype not in known:
            raise UsageError(
                f"a module through the {self.through} has no {first.dtype}",
                hint="float() it, or double() it through the cells or the weights",
            )
        return first.device, first.dtype

    def _executor(self) -> Executor:
        """The network where the parameters are now, and of their type."""
        place = self._place()
        found = self._executors.get(place)
        if found is None:
            found = Executor(self.source.graph(), device=place[0], dtype=place[1])
            self._executors[place] = found
        if self.training and torch.is_grad_enabled() and not self._trainable:
            layers = [layer.output for layer in self.source.layers]
            require_gradients(found, layers, found.output_names)
            self._trainable = True
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Executors are made again where they are needed."""
        return {**self.__dict__, "_executors": {}}


def _aged(image: Image, die: Die) -> bool:
    """Whether the digital side would make up for the age of the die."""
    return image.drift is not None and die.age_s > image.drift.ages_s[0]


def _feed(
    args: Sequence[NodeArg], inputs: Sequence[Any], named: dict[str, Any], dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    names = [arg.name for arg in args]
    given = dict(zip(names, inputs, strict=False)) | named
    if len(inputs) + len(named) != len(names) or set(given) != set(names):
        raise UsageError(
            f"{len(inputs)} inputs in order and {', '.join(named) or 'none'} by name were given",
            hint=f"the network's inputs are {', '.join(names)}",
        )
    return {arg.name: _fitting(given[arg.name], arg, dtype) for arg in args}


def _fitting(value: Any, arg: NodeArg, dtype: torch.dtype) -> torch.Tensor:
    """What is given for an input as a tensor, real numbers in the module's type."""
    given: torch.Tensor = (
        value
        if isinstance(value, torch.Tensor)
        else torch.from_numpy(fitting(value, arg.name, arg.shape, arg.type))
    )
    fits = len(given.shape) == len(arg.shape) and all(
        not isinstance(want, int) or want == have
        for want, have in zip(arg.shape, given.shape, strict=True)
    )
    real = arg.type in ("tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bfloat16)")
    wanted = dtype if real else getattr(torch, arg.type.removeprefix("tensor(").removesuffix(")"))
    if not fits or given.dtype != wanted:
        raise DataError(
            f"{given.dtype} of shape {list(given.shape)} does not fit {wanted} of {arg.shape}",
            where=f"input {arg.name}",
            hint="give tensors of the network's shapes, and of the module's type",
        )
    return given


def _taught(layer: ImageLayer, noisy: NoisyLayer) -> ImageLayer:
    """The layer with the float weights that it was trained to."""
    with torch.no_grad():
        gain = noisy.gain.view(layer.groups, 1, layer.cols)
        weight = ((noisy.weight + noisy.residual) * gain).float().cpu().numpy()
    return replace(
        layer,
        teacher_weight=np.ascontiguousarray(weight),
        teacher_bias=noisy.bias.detach().float().cpu().numpy().copy(),
    )
