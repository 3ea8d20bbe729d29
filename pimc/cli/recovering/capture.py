"""``pimc capture``: Record what a die really computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.command import Report, Settings, command, warned
from pimc.cli.options.data import DataOptions
from pimc.cli.options.fields import group, option
from pimc.cli.options.single import (
    device_option,
    die_option,
    image_argument,
    ir_drop_option,
)
from pimc.cli.options.values import FILE
from pimc.cli.recovering.dies import CALIB_HELP, inputs_for
from pimc.cli.text import facts

if TYPE_CHECKING:
    from pimc.runtime.capture import Record
    from pimc.runtime.physics.ir_drop import Method

__all__ = ["COMMAND", "CaptureArguments", "capture"]


@dataclass(frozen=True)
class CaptureArguments:
    """What ``pimc capture`` takes."""

    image: Path | None = image_argument()
    calib: Path = option("--calib", type=FILE, required=True, metavar="DATA", help=CALIB_HELP)
    preprocess: DataOptions = group(DataOptions)
    die: Path | None = die_option()
    device: str = device_option()
    ir_drop: Method | None = ir_drop_option()
    vectors: int = option(
        "--vectors", type=click.IntRange(2), default=512, help="Input vectors of each tile."
    )
    repeats: int = option(
        "--repeats", type=click.IntRange(1), default=4, help="How often each vector is read."
    )
    record: Record = option(
        "--record",
        type=click.Choice(["codes", "sums", "outputs"]),
        default="codes",
        help="Codes of every tile, outputs of whole layers, or the network's outputs alone.",
    )
    taken: str | None = option(
        "--taken", type=click.STRING, help="Time to note in the capture, e.g. an ISO 8601 date."
    )
    output: Path | None = option(
        "-o", "--output", type=FILE, metavar="CAP", help="Default: IMAGE.pimccap."
    )


def capture(settings: Settings, arguments: CaptureArguments) -> Report:
    """Record what a die really computes for known inputs.

    For every tile: input vectors (--vectors) with their raw ADC codes, read --repeats times;
    besides them the layer outputs, and the network outputs for all of DATA. With less (--record)
    recovery works, too, and says what that costs.
    """
    from pimc.cli.lookup import find_image
    from pimc.image.image import Image
    from pimc.runtime.door.drivers import require_die

    path = find_image(arguments.image)
    loaded = Image.load(path)
    inputs = inputs_for(loaded)
    data = arguments.preprocess.load(arguments.calib, inputs, states=loaded.states)
    require_die(arguments.device, arguments.die)
    # Only now what takes long to load: what can be refused without it has been.
    from pimc.functions.capture import capture as take
    from pimc.runtime.capture import SUFFIX, CaptureOptions
    from pimc.runtime.sequences import unrolled
    from pimc.studies.input_warnings import data_warnings

    data = unrolled(data, loaded, settings.progress)
    options = CaptureOptions(
        arguments.vectors, arguments.repeats, record=arguments.record, seed=settings.seed
    )
    target = arguments.output or path.with_suffix(SUFFIX)
    captured = take(
        loaded,
        data,
        die=arguments.die,
        device=arguments.device,
        seed=settings.seed,
        options=options,
        ir_drop=arguments.ir_drop,
        taken=arguments.taken or "",
        output=target,
        progress=settings.progress,
    )
    result: dict[str, Any] = {
        "output": str(target),
        "die": captured.die,
        "record": captured.record,
        "layers": len(captured.layers),
        "vectors": arguments.vectors,
        "repeats": arguments.repeats,
        "samples": len(data),
        "images": min(options.images, len(data)) if captured.layers else 0,
        "bytes": target.stat().st_size,
    }
    pairs = [(name, str(value)) for name, value in result.items()]
    result["warnings"] = warned(data_warnings(loaded, data))
    return Report(result, facts(pairs), answer=False)


COMMAND = command(
    "capture",
    CaptureArguments,
    capture,
    example="pimc capture model.pimc --calib data --die chip7.die",
    needs=("torch",),
)
