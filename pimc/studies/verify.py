"""Hold the runtime on perfect cells against the golden network, part by part.

Every part gets golden inputs, so that the first one that differs is the one at fault: the
digital operators before each layer, each array layer, the network's outputs. After that the
whole network is compared end to end, and the float network in the image with its source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip.converters import dac_limits
from pimc.errors import ImageError, ModelError
from pimc.image.golden import array_values, golden_model
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.graph.executor import Executor
from pimc.runtime.session import NodeArg, Session
from pimc.runtime.teacher import has_teacher, teacher_array

if TYPE_CHECKING:
    import onnx

__all__ = ["Comparison", "Verification", "random_inputs", "verify"]

Values = Mapping[str, npt.NDArray[Any]]
Part = Literal["digital", "array", "output", "network", "source"]

#: Largest difference allowed, over the largest magnitude of the value: for single parts that
#: is float32 rounding. End to end a value that rounding moves across the border of two DAC
#: codes changes by a code, so there the root mean square is held against a wider limit.
PART_TOLERANCE = 1e-4
NETWORK_TOLERANCE = 2e-2
SOURCE_TOLERANCE = 1e-3

#: Length of free dimensions of an input other than the batch.
FREE_LENGTH = 16


@dataclass(frozen=True)
class Comparison:
    """One value, computed in both ways.

    Attributes:
        name: the layer or output.
        part: what was compared: the ``digital`` operators before a layer, the ``array`` layer
            itself, the digital operators before an ``output``, an output of the whole
            ``network``, or of the float network against its ``source``.
        max_abs_error: largest difference.
        relative_error: what is held against ``tolerance``.
    """

    name: str
    part: Part
    max_abs_error: float
    relative_error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the difference is within the tolerance; NaN is not."""
        return self.relative_error <= self.tolerance


@dataclass(frozen=True)
class Verification:
    """All comparisons, in the order in which the network runs."""

    comparisons: tuple[Comparison, ...]

    @property
    def ok(self) -> bool:
        """Whether all parts agree."""
        return all(entry.ok for entry in self.comparisons)

    @property
    def first_diverging(self) -> Comparison | None:
        """The first comparison that failed."""
        return next((entry for entry in self.comparisons if not entry.ok), None)

    @property
    def max_abs_error(self) -> float:
        """Largest difference of the network's outputs, end to end."""
        return max(entry.max_abs_error for entry in self.comparisons if entry.part == "network")


def verify(image: Image, inputs: Values, *, model: Path | None = None) -> Verification:
    """Compare an image on perfect cells with its golden network on ``inputs``.

    Args:
        image: the image.
        inputs: the network's inputs by name.
        model: the source model; the image's float weights are compared with it too.

    Raises:
        ImageError: ``model`` was given, but the image holds no float weights.
        ModelError: ONNX Runtime cannot run one of the networks on these inputs.
    """
    session = Session(image, Die.ideal(), converters=False)
    outputs = [arg.name for arg in session.get_outputs()]
    wires = list(array_values(image))
    inner = [name for _, *ends in wires for name in ends]
    golden = dict(inputs) | _ort(golden_model(image, keep=inner), inputs, "the golden network")
    found = _parts(session, wires, outputs, golden)
    ours = dict(zip(outputs, session.run(outputs, inputs), strict=True))
    whole = max(NETWORK_TOLERANCE, 1 / dac_limits(image.chip, signed=True)[1])
    found += [_compare(name, "network", ours[name], golden[name], whole) for name in outputs]
    if model is not None:
        found += _against_source(image, inputs, outputs, model)
    return Verification(tuple(found))


def random_inputs(
    session_inputs: Sequence[NodeArg], image: Image, samples: int, seed: int
) -> dict[str, npt.NDArray[Any]]:
    """Plausible inputs: normal numbers that fill the range of the layer they enter.

    Free dimensions get ``samples`` where they come first, else :data:`FREE_LENGTH`; whole
    numbers are 0 or 1.
    """
    rng = np.random.default_rng(seed)
    spread = _input_spread(image)
    return {arg.name: _draw(arg, spread.get(arg.name, 1.0), samples, rng) for arg in session_inputs}


def _draw(arg: NodeArg, spread: float, samples: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    shape = [
        dim if isinstance(dim, int) else samples if axis == 0 else FREE_LENGTH
        for axis, dim in enumerate(arg.shape)
    ]
    kind = arg.type.removeprefix("tensor(").removesuffix(")")
    if kind in ("float", "double", "float16"):
        values = rng.standard_normal(shape) * spread
        return values.astype({"float": np.float32, "double": np.float64}.get(kind, np.float16))
    if kind != "bool" and not kind.startswith(("int", "uint")):
        raise ModelError(
            f"no inputs of type {arg.type} can be drawn",
            where=f"input {arg.name}",
            hint="give data with --data",
        )
    return rng.integers(0, 2, shape).astype(kind)


def _input_spread(image: Image) -> dict[str, float]:
    """A third of the input range of each layer, by the value it reads."""
    layers = {layer.name: layer for layer in image.layers}
    found: dict[str, float] = {}
    high = 2**image.chip.dac.bits - 1
    for name, source, _ in array_values(image):
        scale = layers[name].input_scale
        if scale is not None:
            found[source] = scale * high / (6 if layers[name].input_signed else 3)
    return found


def _parts(
    session: Session, wires: Sequence[tuple[str, str, str]], outputs: Sequence[str], golden: Values
) -> list[Comparison]:
    """Digital operators and array layers, each on golden values."""
    given = {arg.name: golden[arg.name] for arg in session.get_inputs()}
    given |= {output: golden[output] for _, _, output in wires}
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in given.items()}
    sources = [source for _, source, _ in wires]
    digital = session.evaluate(tensors, want=[*dict.fromkeys([*sources, *outputs])])
    found: list[Comparison] = []
    for name, source, output in wires:
        x = torch.from_numpy(np.array(golden[source]))
        with torch.inference_mode():
            y = session.layers[name](x)
        before, after = digital[source].numpy(), y.numpy()
        found.append(_compare(name, "digital", before, golden[source], PART_TOLERANCE))
        found.append(_compare(name, "array", after, golden[output], PART_TOLERANCE))
    found += [
        _compare(name, "output", digital[name].numpy(), golden[name], PART_TOLERANCE)
        for name in outputs
    ]
    return found


def _against_source(
    image: Image, inputs: Values, outputs: Sequence[str], model: Path
) -> list[Comparison]:
    if not has_teacher(image):
        raise ImageError(
            "the image holds no float weights to compare with the model",
            hint="compile without --no-teacher, or verify without --model",
        )
    import onnx

    try:
        source = onnx.load(model)
    except Exception as cause:  # protobuf, missing external data, permissions
        raise ModelError(f"cannot be read: {cause}", where=str(model)) from cause
    wanted = _ort_in_batches(source, inputs, str(model))
    executor = Executor(image.graph(), array=teacher_array(image))
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items()}
    with torch.inference_mode():
        ours = executor.run(tensors, want=outputs)
    return [
        _compare(name, "source", ours[name].numpy(), wanted[name], SOURCE_TOLERANCE)
        for name in outputs
        if name in wanted
    ]


def _ort_in_batches(
    model: onnx.ModelProto, inputs: Values, where: str
) -> dict[str, npt.NDArray[Any]]:
    """Outputs of a source model; one that takes a fixed number of samples gets so many a run."""
    size, samples = _fixed_batch(model), len(next(iter(inputs.values()), ()))
    if size in (0, samples):
        return _ort(model, inputs, where)
    # The last run is filled up with samples from the front.
    order = np.arange(-(-samples // size) * size) % samples
    runs = [
        _ort(model, {name: x[part] for name, x in inputs.items()}, where)
        for part in np.split(order, len(order) // size)
    ]
    return {name: np.concatenate([run[name] for run in runs])[:samples] for name in runs[0]}


def _fixed_batch(model: onnx.ModelProto) -> int:
    """Dimension 0 of the inputs where it is the same number for all, else 0."""
    constants = {tensor.name for tensor in model.graph.initializer}
    sizes = {
        value.type.tensor_type.shape.dim[0].dim_value if value.type.tensor_type.shape.dim else 0
        for value in model.graph.input
        if value.name not in constants
    }
    return sizes.pop() if len(sizes) == 1 else 0


def _ort(model: onnx.ModelProto, inputs: Values, where: str) -> dict[str, npt.NDArray[Any]]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    # Fused operators round in another order; what is compared is what the model says.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [arg.name for arg in session.get_outputs()]
        feed = {arg.name: inputs[arg.name] for arg in session.get_inputs() if arg.name in inputs}
        return dict(zip(names, session.run(None, feed), strict=True))
    except Exception as cause:  # ONNX Runtime raises classes of its own
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise ModelError(
            f"ONNX Runtime cannot run it on these inputs: {reason}",
            where=where,
            hint="give inputs that fit with --data",
        ) from cause


def _compare(
    name: str, part: Part, ours: npt.NDArray[Any], wanted: npt.NDArray[Any], tolerance: float
) -> Comparison:
    if ours.shape != wanted.shape:
        return Comparison(name, part, float("inf"), float("inf"), tolerance)
    # Where both are the same NaN or infinity there is no difference.
    one, two = (np.asarray(values, np.float64) for values in (ours, wanted))
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(one - two))
    difference = np.where(np.isnan(difference), np.inf, difference)
    largest = float(difference.max(initial=0.0))
    finite = np.abs(two[np.isfinite(two)])
    error, size = largest, float(finite.max(initial=0.0))
    if part == "network" and difference.size:
        error = float(np.sqrt((difference**2).mean()))
        size = float(np.sqrt((finite**2).mean())) if finite.size else 0.0
    relative = error / size if size else error
    return Comparison(name, part, largest, relative, tolerance)
