"""Hold the runtime on perfect cells against the golden network, part by part.

Every part gets golden inputs, so that the first one that differs is the one at fault: the
digital operators before each layer, each array layer, the network's outputs. After that the
whole network is compared end to end, and the float network in the image with its source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import torch

from pimc.chip.converters import dac_limits
from pimc.errors import ImageError, ModelError
from pimc.image.golden import array_values, golden_model, layer_model
from pimc.image.image import Image, ImageLayer
from pimc.passes.graph.frontend import complete_model
from pimc.passes.graph.normal import deployed_form
from pimc.runtime.die.die import Die
from pimc.runtime.door.abilities import saturation_of
from pimc.runtime.finite import require_finite
from pimc.runtime.graph.executor import Executor
from pimc.runtime.session import Session
from pimc.runtime.teacher import has_teacher, teacher_array
from pimc.studies.golden.golden_run import golden_outputs, outputs_in_batches
from pimc.studies.golden.verify_inputs import ATTEMPTS, random_inputs

__all__ = ["Comparison", "Converted", "Verification", "verify", "verify_drawn"]

Values = Mapping[str, npt.NDArray[Any]]
Part = Literal["digital", "array", "output", "network", "source"]

#: Input vectors, and positions along each axis of an image, on which a layer is tried alone.
_ALONE = 4
#: Largest difference allowed, over the largest magnitude of the value: for single parts that
#: is float32 rounding. End to end a value that rounding moves across the border of two DAC
#: codes changes by a code, so there the root mean square is held against a wider limit.
PART_TOLERANCE = 1e-4
#: Distance of one from the next number of types coarser than float32, and how many times that is
#: allowed in a network that computes in them.
_EPSILON: Mapping[ir.DataType, float] = {
    ir.DataType.FLOAT16: 2.0**-10,
    ir.DataType.BFLOAT16: 2.0**-7,
}
_ROUNDINGS = 4
NETWORK_TOLERANCE = 2e-2
SOURCE_TOLERANCE = 1e-3


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
class Converted:
    """What perfect cells give when the chip's converters read them.

    Attributes:
        relative_error: root mean square difference of an output from the golden network, over
            the root mean square of that output; of the output where it is largest.
        saturation: by layer, the share of conversions whose current lay outside the ADC's range.
    """

    relative_error: float
    saturation: Mapping[str, float]


@dataclass(frozen=True)
class Verification:
    """All comparisons, in the order in which the network runs; and what converters add."""

    comparisons: tuple[Comparison, ...]
    converted: Converted

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


def verify(
    image: Image, inputs: Values, *, model: Path | None = None, follow_links: bool = False
) -> Verification:
    """Compare an image on perfect cells with its golden network on ``inputs``.

    Args:
        image: the image.
        inputs: the network's inputs by name.
        model: the source model; the image's float weights are compared with it too.
        follow_links: take external data of ``model`` behind symbolic links, wherever they lead.

    Raises:
        ImageError: ``model`` was given, but the image holds no float weights.
        ModelError: ONNX Runtime cannot run one of the networks on these inputs, or the golden
            network's outputs are not finite.
    """
    golden = _golden(image, inputs)
    session = Session(image, die=Die.ideal(), converters=False)
    outputs = [arg.name for arg in session.get_outputs()]
    require_finite({name: golden[name] for name in outputs}, "the golden network")
    wires = list(array_values(image))
    tolerance = _part_tolerance(image)
    found = _parts(session, wires, outputs, golden, tolerance)
    seen = {name for name, _, _ in wires}
    found += [_alone(session, image, layer) for layer in image.layers if layer.name not in seen]
    ours = dict(zip(outputs, session.run(outputs, inputs), strict=True))
    whole = max(NETWORK_TOLERANCE, 1 / dac_limits(image.chip, signed=True)[1])
    found += [_compare(name, "network", ours[name], golden[name], whole) for name in outputs]
    if model is not None:
        source = complete_model(model, follow_links=follow_links)
        found += _against_source(image, inputs, outputs, source, tolerance, str(model))
    return Verification(tuple(found), _converted(image, inputs, outputs, golden))


def verify_drawn(
    image: Image,
    samples: int,
    seed: int,
    *,
    model: Path | None = None,
    follow_links: bool = False,
) -> Verification:
    """:func:`verify` on drawn inputs, the first of some on which the networks run."""
    args = Session(image).get_inputs()
    for attempt in ATTEMPTS[:-1]:
        inputs = random_inputs(args, image, samples, seed, attempt)
        with suppress(ModelError):
            return verify(image, inputs, model=model, follow_links=follow_links)
    inputs = random_inputs(args, image, samples, seed, ATTEMPTS[-1])
    return verify(image, inputs, model=model, follow_links=follow_links)


def _converted(image: Image, inputs: Values, outputs: Sequence[str], golden: Values) -> Converted:
    """The whole network on perfect cells, read by the chip's converters."""
    session = Session(image, die=Die.ideal())
    given = dict(zip(outputs, session.run(outputs, inputs), strict=True))
    errors = [_compare(name, "network", given[name], golden[name], 1.0) for name in outputs]
    met = saturation_of(session.device)
    return Converted(
        max(entry.relative_error for entry in errors),
        {layer: found.share for layer, found in met.items()},
    )


def _golden(image: Image, inputs: Values) -> Values:
    """All values of the golden network that are compared, and its inputs."""
    inner = [name for _, *ends in array_values(image) for name in ends]
    model = golden_model(image, keep=inner)
    return dict(inputs) | golden_outputs(model, inputs, "the golden network")


def _alone(session: Session, image: Image, layer: ImageLayer) -> Comparison:
    """A layer in a body of control flow, whose values differ from run to run: on drawn inputs."""
    rng = np.random.default_rng([layer.index, layer.rows, layer.cols])
    shape: tuple[int, ...] = (_ALONE, layer.rows)
    if layer.window is not None:
        kernel = layer.window.kernel
        channels = layer.groups * layer.rows // int(np.prod(kernel))
        reach = [(k - 1) * d + _ALONE for k, d in zip(kernel, layer.window.dilations, strict=True)]
        shape = (1, channels, *reach)
    limit = dac_limits(image.chip, layer.input_signed)[1]
    values = rng.standard_normal(shape) * (layer.input_scale or 1.0) * limit / 3
    x = (values if layer.input_signed else np.abs(values)).astype(np.float32)
    golden = golden_outputs(layer_model(image, layer), {"x": x}, layer.name)["y"]
    with torch.inference_mode():
        ours = session.layers[layer.name](torch.from_numpy(x)).numpy()
    return _compare(layer.name, "array", ours, golden, PART_TOLERANCE)


def _parts(
    session: Session,
    wires: Sequence[tuple[str, str, str]],
    outputs: Sequence[str],
    golden: Values,
    tolerance: float,
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
        found.append(_compare(name, "digital", before, golden[source], tolerance))
        found.append(_compare(name, "array", after, golden[output], tolerance))
    found += [
        _compare(name, "output", _array(digital[name]), golden[name], tolerance) for name in outputs
    ]
    return found


def _against_source(
    image: Image,
    inputs: Values,
    outputs: Sequence[str],
    source: onnx.ModelProto,
    tolerance: float,
    name: str,
) -> list[Comparison]:
    if not has_teacher(image):
        raise ImageError(
            "the image holds no float weights to compare with the model",
            hint="compile without --no-teacher, or verify without --model",
        )
    deployed_form(source)
    wanted = outputs_in_batches(source, inputs, name)
    executor = Executor(image.graph(), array=teacher_array(image))
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items()}
    with torch.inference_mode():
        ours = executor.run(tensors, want=outputs)
    return [
        _compare(name, "source", _array(ours[name]), wanted[name], max(SOURCE_TOLERANCE, tolerance))
        for name in outputs
        if name in wanted
    ]


def _compare(name: str, part: Part, ours: Any, wanted: Any, tolerance: float) -> Comparison:
    """The worst of the arrays that ``wanted`` is, one or a list of them."""
    ones, twos = ([value] if not isinstance(value, list) else value for value in (ours, wanted))
    if len(ones) != len(twos):
        return Comparison(name, part, float("inf"), float("inf"), tolerance)
    found = [_one(name, part, a, b, tolerance) for a, b in zip(ones, twos, strict=True)]
    nothing = Comparison(name, part, 0.0, 0.0, tolerance)
    return max(found, key=lambda entry: entry.relative_error / entry.tolerance, default=nothing)


def _one(
    name: str, part: Part, ours: npt.NDArray[Any], wanted: npt.NDArray[Any], tolerance: float
) -> Comparison:
    if ours.shape != wanted.shape:
        return Comparison(name, part, float("inf"), float("inf"), tolerance)
    # The same infinity, of a mask, is no difference; NaN is equal to nothing.
    one, two = (np.asarray(values, np.float64) for values in (ours, wanted))
    with np.errstate(invalid="ignore"):
        difference = np.where(one == two, 0.0, np.abs(one - two))
    difference = np.where(np.isnan(difference), np.inf, difference)
    largest = float(difference.max(initial=0.0))
    finite = np.abs(two[np.isfinite(two)])
    error, size = largest, float(finite.max(initial=0.0))
    if part == "network" and difference.size:
        error = float(np.sqrt((difference**2).mean()))
        size = float(np.sqrt((finite**2).mean())) if finite.size else 0.0
    relative = error / size if size else error
    return Comparison(name, part, largest, relative, tolerance)


def _part_tolerance(image: Image) -> float:
    """What is allowed in any part: :data:`PART_TOLERANCE`, or roundings of a coarser type."""
    graph = image.graph().graph
    types = {value.dtype for value in graph.inputs}
    for node in graph.all_nodes():
        types |= {value.dtype for value in node.outputs}
        if node.op_type == "Cast":
            types.add(ir.DataType(node.attributes.get_int("to", 1)))
    coarsest = max((_EPSILON.get(kind, 0.0) for kind in types if kind is not None), default=0.0)
    return max(PART_TOLERANCE, _ROUNDINGS * coarsest)


def _array(value: Any) -> Any:
    """A tensor, or the tensors of a sequence, as NumPy has them."""
    return [_array(each) for each in value] if isinstance(value, list) else value.numpy()
