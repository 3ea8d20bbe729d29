"""Harden: train a network for the errors that writing it will make (variation-aware training).

Every batch meets a freshly written die: weights rounded to their codes, every weight with a
write error drawn from the chip's own statistics. Gradients pass straight through the rounding
(Y. Bengio et al., arXiv 1308.3432). Noise-aware training for RRAM: Wan et al. 2022, DOI
10.1038/s41586-022-04992-8; with distillation: G. Charan et al. 2020, IEEE JXCDC.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
import torch.nn.functional as F

from pimc.converters import dac_limits
from pimc.data import Dataset
from pimc.image import Image, ImageLayer
from pimc.passes.recover.distill import Student, batches, feature_loss
from pimc.passes.recover.objective import Goal, Outputs, Task
from pimc.passes.recover.twin import Twin, TwinLayer
from pimc.plan import layer_of
from pimc.progress import Progress, silent
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array


@dataclass(frozen=True)
class HardenOptions:
    """How the weights are trained.

    Attributes:
        epochs, batch_size: over the training part of the calibration data.
        learning_rate: of weights, in units of their layer's standard deviation.
        distill: toward the float network's outputs and features; else toward the classes it
            names.
        features: weight of the features beside the outputs.
    """

    epochs: int = 6
    batch_size: int = 64
    learning_rate: float = 3e-3
    distill: bool = True
    features: float = 1.0


@dataclass(eq=False)
class NoisyLayer:
    """A layer that is written anew whenever :meth:`draw` is called.

    Attributes:
        weight: (groups, rows, cols) trained, in effective µS from the column's zero.
    """

    twin: TwinLayer
    weight: torch.nn.Parameter
    zero_us: torch.Tensor
    scale: torch.Tensor
    values_us: torch.Tensor
    sigma_us: torch.Tensor
    middles: torch.Tensor = field(repr=False)

    @staticmethod
    def of(image: Image, layer: ImageLayer) -> NoisyLayer:
        """The layer before training: the float network's weights."""
        book, shape = image.codebook, (layer.groups, 1, layer.cols)
        scale = (layer.scale * layer.gain).astype(np.float64).reshape(shape)
        wanted = np.asarray(layer.teacher_weight, np.float64) / scale

        def tensor(values: npt.NDArray[np.floating]) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).float()

        values = book.values_us
        twin = TwinLayer(
            layer,
            dac_limits(image.chip, layer.input_signed),
            torch.zeros(()),
            torch.zeros(layer.groups * layer.cols),
            torch.nn.Parameter(torch.ones(layer.groups * layer.cols), requires_grad=False),
            torch.nn.Parameter(torch.from_numpy(layer.bias.copy())),
        )
        return NoisyLayer(
            twin,
            torch.nn.Parameter(tensor(wanted)),
            tensor(values[layer.zero].reshape(shape)),
            tensor(scale),
            tensor(values),
            tensor(book.sigma_us),
            tensor((values[1:] + values[:-1]) / 2),
        )

    def codes(self) -> torch.Tensor:
        """(groups, rows, cols) the nearest code of every weight."""
        return torch.bucketize((self.weight + self.zero_us).detach(), self.middles)

    def draw(self, generator: torch.Generator) -> None:
        """Write the layer: its next outputs are those of one die."""
        codes = self.codes()
        error = torch.randn(codes.shape, generator=generator) * self.sigma_us[codes]
        held = self.values_us[codes] - self.zero_us
        low, high = self.values_us[0] - self.zero_us, self.values_us[-1] - self.zero_us
        inside = torch.maximum(torch.minimum(self.weight, high), low)
        effective = (inside + (held - inside).detach() + error) * self.scale
        layer = self.twin.layer
        if layer.window is None:
            self.twin.kernel = effective[0]
        else:
            kernel = effective.transpose(1, 2)
            self.twin.kernel = kernel.reshape(layer.groups * layer.cols, -1, *layer.window.kernel)


def harden(
    image: Image,
    student: Student,
    goal: Goal,
    data: Dataset,
    options: HardenOptions,
    generator: torch.Generator,
    *,
    progress: Progress = silent,
) -> Image:
    """The image with levels and biases that were trained under write errors.

    Nothing of a die is known or used. The last epoch is the result: by then the learning rate
    has fallen to nothing.

    Args:
        student: the graph, its teacher and the names of its outputs.
        goal: what the outputs are held to when distilling.
        data: inputs; labels are not used.

    Raises:
        ModelError: gradients cannot reach a layer.
    """
    student.check_gradients()
    layers = {layer.name: NoisyLayer.of(image, layer) for layer in image.layers}
    groups = []
    for layer in layers.values():
        spread = float(layer.weight.detach().std().clamp_min(1e-6))
        groups.append({"params": [layer.weight], "lr": options.learning_rate * spread})
        groups.append({"params": [layer.twin.bias], "lr": options.learning_rate})
    optimizer = torch.optim.Adam(groups)
    steps = options.epochs * -(-len(data) // options.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        return layers[layer_of(node)].twin(x)

    for _ in progress(range(options.epochs), "hardening", options.epochs):
        for x in batches(data, options.batch_size, generator):
            for layer in layers.values():
                layer.draw(generator)
            wanted, wanted_features = student.teach(x)
            found, features = student.run(x, array)
            if options.distill:
                loss = goal.loss(found, wanted)
                loss = loss + options.features * feature_loss(features, wanted_features)
            else:
                loss = _loss_of_classes(goal)(found, wanted)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    if not options.epochs:
        return image
    return _written(image, layers)


def hardened(
    image: Image,
    data: Dataset,
    options: HardenOptions | None = None,
    *,
    task: Task | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Image:
    """A freshly compiled image, hardened before any die is written.

    Args:
        data: inputs; labels are not used.
        task: what the outputs are; judged by their shape if None.
        seed: of the order of the inputs and of the write errors.

    Raises:
        ImageError: the image holds no float weights.
        ModelError: gradients cannot reach a layer.
    """
    session, teacher = Session(image), teacher_array(image)
    names = tuple(arg.name for arg in session.get_outputs())
    student = Student(session.executor, Twin({}), teacher, session.get_inputs()[0].name, names)
    options = options or HardenOptions()
    wanted, _ = student.teach(torch.from_numpy(data.batch(0, options.batch_size)))
    generator = torch.Generator().manual_seed(seed)
    goal = Goal.of(task, wanted)
    found = harden(image, student, goal, data, options, generator, progress=progress)
    return found.updated(options=dict(image.manifest["options"]) | {"harden": options.epochs})


def _loss_of_classes(goal: Goal) -> Callable[[Outputs, Outputs], torch.Tensor]:
    """Cross-entropy with the classes that the float network names; the goal where it has none."""
    if not all(part.classes for part in goal.parts):
        return goal.loss

    def loss(found: Outputs, wanted: Outputs) -> torch.Tensor:
        pairs = zip(found, wanted, strict=True)
        return torch.stack([F.cross_entropy(o, t.argmax(1)) for o, t in pairs]).sum()

    return loss


def _written(image: Image, layers: dict[str, NoisyLayer]) -> Image:
    levels, columns = image.levels.copy(), {}
    for layer in image.layers:
        noisy, address = layers[layer.name], layer.by_weight(image.cells(layer))
        levels.reshape(-1)[address] = image.codebook.levels[noisy.codes().numpy()]
        columns[layer.index] = {"bias": noisy.twin.bias.detach().numpy().copy()}
    return image.updated(levels=levels, columns=columns)
