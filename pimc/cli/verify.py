"""``pimc verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.common import (
    FILE,
    Report,
    Settings,
    command,
    data_options,
    image_argument,
)
from pimc.cli.text import room, table

if TYPE_CHECKING:
    from pimc.studies.verify import Verification

__all__ = ["verify"]


@command("verify")
@image_argument
@click.option(
    "--model",
    type=FILE,
    metavar="MODEL.onnx",
    help="The source model; found by itself beside the image or in the current folder.",
)
@click.option("--data", type=FILE, metavar="DATA", help="Inputs; without, random ones are drawn.")
@data_options
@click.option("--samples", type=click.IntRange(1), default=4, show_default=True)
def verify(
    settings: Settings,
    image: Path | None,
    model: Path | None,
    data: Path | None,
    preprocess: dict[str, Any],
    samples: int,
) -> Report:
    """Hold the runtime on perfect cells against the golden network, layer by layer.

    The golden network is the quantized one as plain ONNX, run by ONNX Runtime. Where the source
    model is at hand, the float network in the image is compared with it too. Exits with 1 and
    names the first layer that differs.
    """
    from pimc.cli.lookup import find_image, find_model
    from pimc.data.dataset import load_data
    from pimc.image.image import Image
    from pimc.runtime.session import inputs_of
    from pimc.runtime.teacher import has_teacher
    from pimc.studies.evaluate import input_shape, only_input
    from pimc.studies.verify import verify as compare
    from pimc.studies.verify import verify_drawn

    path = find_image(image)
    loaded = Image.load(path)
    if model is None and has_teacher(loaded):
        model = find_model(loaded, path)
    if data is None:
        found = verify_drawn(loaded, samples, settings.seed, model=model)
    else:
        args = inputs_of(loaded)
        given = load_data(data, overrides=preprocess, input_shape=input_shape(args))
        found = compare(loaded, {only_input(args): given.batch(0, samples)}, model=model)
    first = found.first_diverging
    result = {
        "ok": found.ok,
        "max_abs_error": _finite(found.max_abs_error),
        "first_diverging_layer": None if first is None else first.name,
        "first_diverging_part": None if first is None else first.part,
        "image": str(path),
        "model": None if model is None else str(model),
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
    lines.append(
        "source model: not compared (not found; name it with --model)"
        if model is None
        else f"source model: {model} compared"
    )
    return "\n".join(lines)
