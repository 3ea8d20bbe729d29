"""``pimc capture``, and what it shares with ``pimc recover``: calibration data, programmed dies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.common import (
    FILE,
    Function,
    Report,
    Settings,
    command,
    data_options,
    image_argument,
    ir_drop_option,
)
from pimc.cli.text import facts

if TYPE_CHECKING:
    from pimc.data.dataset import Dataset
    from pimc.image.image import Image
    from pimc.runtime.door.device import Device
    from pimc.runtime.physics.ir_drop import Method

__all__ = ["calib_option", "calibration", "capture", "programmed", "shape_of"]


def calib_option(*, required: bool = True) -> Callable[[Function], Function]:
    """``--calib``."""
    return click.option(
        "--calib",
        type=FILE,
        required=required,
        metavar="DATA",
        help="Calibration data; labels are not used. A folder may also hold captures.",
    )


@command("capture")
@image_argument
@calib_option()
@data_options
@click.option("--die", type=FILE, help="A programmed die; without, one is drawn from --seed.")
@click.option("--device", default="sim", show_default=True, help="See `pimc devices`.")
@ir_drop_option
@click.option("--vectors", type=click.IntRange(2), default=512, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=4, show_default=True)
@click.option(
    "--record",
    type=click.Choice(["codes", "sums", "outputs"]),
    default="codes",
    show_default=True,
    help="Codes of every tile, outputs of whole layers, or the network's outputs alone.",
)
@click.option("--taken", default="", help="Time to note in the capture, e.g. an ISO 8601 date.")
@click.option("-o", "--output", type=FILE, metavar="CAP", help="Default: IMAGE.pimccap.")
def capture(settings: Settings, image: Path | None, **chosen: Any) -> Report:
    """Record what a die really computes for known inputs.

    For every tile: input vectors (--vectors) with their raw ADC codes, read --repeats times;
    besides them the layer outputs, and the network outputs for all of DATA. With less (--record)
    recovery works, too, and says what that costs.
    """
    from pimc.cli.lookup import find_image
    from pimc.image.image import Image
    from pimc.runtime.capture import SUFFIX, CaptureOptions
    from pimc.runtime.capture import capture as take
    from pimc.runtime.door.abilities import keep_disturb
    from pimc.runtime.session import Session

    path = find_image(image)
    loaded = Image.load(path)
    data = calibration(loaded, chosen)
    device = programmed(loaded, chosen["device"], chosen["die"], settings.seed, chosen["ir_drop"])
    options = CaptureOptions(
        chosen["vectors"], chosen["repeats"], record=chosen["record"], seed=settings.seed
    )
    captured = take(
        Session(loaded, device), data, options, progress=settings.progress, taken=chosen["taken"]
    )
    target = chosen["output"] or path.with_suffix(SUFFIX)
    captured.save(target)
    keep_disturb(device, chosen["die"])
    result = {
        "output": str(target),
        "die": device.name,
        "record": captured.record,
        "layers": len(captured.layers),
        "vectors": chosen["vectors"],
        "repeats": chosen["repeats"],
        "samples": len(data),
        "bytes": target.stat().st_size,
    }
    pairs = [(name, str(value)) for name, value in result.items()]
    return Report(result, facts(pairs), answer=False)


def calibration(image: Image, chosen: dict[str, Any]) -> Dataset:
    """The data that a user gave with ``--calib``."""
    from pimc.data.dataset import load_data

    return load_data(
        chosen["calib"],
        overrides=chosen["preprocess"],
        input_shape=shape_of(image),
        role="calib",
    )


def shape_of(image: Image) -> tuple[int | None, ...]:
    """The shape of the network's input."""
    from pimc.studies.evaluate import input_shape, inputs_of

    return input_shape(inputs_of(image))


def programmed(
    image: Image, driver: str, die: Path | None, seed: int, ir_drop: Method | None = None
) -> Device:
    """The device, holding the image; a die that is only now drawn is written first."""
    from pimc.errors import UsageError
    from pimc.runtime.door.drivers import open_device, require_programmed, simulates
    from pimc.runtime.door.program import program

    simulated = simulates(driver)
    if die is not None and simulated and not die.exists():
        raise UsageError(
            "no such file", where=str(die), hint="make a programmed die with `pimc program --die`"
        )
    device = open_device(driver, image, die=die, seed=seed, ir_drop=ir_drop)
    if die is None and simulated:
        program(image, device)
    require_programmed(image, device)
    return device
