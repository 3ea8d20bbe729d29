"""``pimc verify``: Ideal runtime against the golden model, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pimc.cli.command import Report, Settings, command
from pimc.cli.options.data import DataOptions
from pimc.cli.options.fields import group, option
from pimc.cli.options.model import ModelOptions
from pimc.cli.options.single import image_argument
from pimc.cli.options.values import FILE
from pimc.cli.text import clipping_layers, room, table

if TYPE_CHECKING:
    from pimc.studies.golden.verify import Verification

__all__ = ["COMMAND", "VerifyArguments", "verify"]


@dataclass(frozen=True)
class VerifyArguments:
    """What ``pimc verify`` takes."""

    image: Path | None = image_argument()
    model: Path | None = option(
        "--model",
        type=FILE,
        metavar="MODEL.onnx",
        help="The source model; found by itself beside the image or in the current folder.",
    )
    reading: ModelOptions = group(ModelOptions)
    data: Path | None = option(
        "--data", type=FILE, metavar="DATA", help="Inputs; without, random ones are drawn."
    )
    preprocess: DataOptions = group(DataOptions)
    samples: int = option(
        "--samples", type=click.IntRange(1), default=4, help="How many inputs are compared."
    )


def verify(settings: Settings, arguments: VerifyArguments) -> Report:
    """Hold the runtime on perfect cells against the golden network, layer by layer.

    The golden network is the quantized one as plain ONNX, run by ONNX Runtime. Where the source
    model is at hand, the float network in the image is compared with it too. Exits with 1 and
    names the first layer that differs.
    """
    from pimc.cli.lookup import find_image, find_model
    from pimc.data.inputs import free_inputs
    from pimc.image.image import Image
    from pimc.runtime.interface import inputs_of

    path = find_image(arguments.image)
    loaded = Image.load(path)
    given, inputs = None, None
    if arguments.data is not None:
        args = inputs_of(loaded)
        free_inputs(args)  # refuses a network of a fixed number of samples
        given = arguments.preprocess.load(arguments.data, args, states=loaded.states)
    # Only now what takes long to load: what can be refused without it has been.
    from pimc.functions.verify import some_inputs
    from pimc.functions.verify import verify as compare
    from pimc.runtime.teacher import has_teacher

    model = arguments.model
    if model is None and has_teacher(loaded):
        model = find_model(loaded, path)
    if given is not None:
        inputs = some_inputs(given, loaded, arguments.samples)
    found = compare(
        loaded,
        inputs,
        model=model,
        samples=arguments.samples,
        seed=settings.seed,
        follow_links=arguments.reading.follow_links,
    )
    first = found.first_diverging
    result = {
        "ok": found.ok,
        "max_abs_error": _finite(found.max_abs_error),
        "first_diverging_layer": None if first is None else first.name,
        "first_diverging_part": None if first is None else first.part,
        "image": str(path),
        "model": None if model is None else str(model),
        "relative_error_converted": _finite(found.converted.relative_error),
        "saturation": found.converted.saturation,
        "comparisons": [
            {
                "name": entry.name,
                "part": entry.part,
                "max_abs_error": _finite(entry.max_abs_error),
                "relative_error": _finite(entry.relative_error),
                "tolerance": entry.tolerance,
                "ok": entry.ok,
            }
            for entry in found.comparisons
        ],
    }
    text = _text(found, model)
    return Report(result, text, exit_code=0 if found.ok else 1)


COMMAND = command(
    "verify",
    VerifyArguments,
    verify,
    example="pimc verify model.pimc --model model.onnx",
    needs=("torch",),
)


def _finite(value: float) -> float | None:
    """JSON has no infinity: None where a shape differs or a value is not finite."""
    return value if abs(value) < float("inf") else None


_PARTS = {
    "digital": "the digital operators before it",
    "array": "the layer itself",
    "output": "the digital operators before this output",
    "network": "this output of the whole network",
    "source": "this output of the float network against the source model",
}


def _text(found: Verification, model: Path | None) -> str:
    first = found.first_diverging
    worst = max(entry.relative_error for entry in found.comparisons)
    lines = []
    if first is None:
        layers = sum(entry.part == "array" for entry in found.comparisons)
        lines.append(
            f"ok: {layers} layers and the network agree with the golden network "
            f"(largest difference of an output {found.max_abs_error:.3g}, "
            f"largest relative error {worst:.2g})"
        )
    else:
        lines.append(
            f"first divergence at {first.name}, {_PARTS[first.part]}: relative error "
            f"{first.relative_error:.3g}, allowed {first.tolerance:g}"
        )
        rows = [
            (entry.name, entry.part, entry.max_abs_error, entry.relative_error)
            for entry in found.comparisons
            if not entry.ok
        ]
        lines.append(table(("name", "part", "largest", "relative"), rows, limit=room(8)))
    error = found.converted.relative_error
    lines.append(f"with the chip's converters: relative error of the outputs {error:.2g}")
    clipped = clipping_layers(found.converted.saturation)
    if clipped:
        lines.append(f"codes that the ADC range clips: {clipped}")
    lines.append(
        "source model: not compared (not found; name it with --model)"
        if model is None
        else f"source model: {model} compared"
    )
    return "\n".join(lines)
