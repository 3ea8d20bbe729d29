"""Single options that several commands take, with one meaning everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pimc.cli.options.fields import argument, flag, option
from pimc.cli.options.values import DEVICE, FILE

if TYPE_CHECKING:
    from pimc.runtime.physics.ir_drop import Method

__all__ = [
    "batch_size_option",
    "device_option",
    "die_option",
    "explain_option",
    "image_argument",
    "ir_drop_option",
    "picture_option",
]


def image_argument() -> Path | None:
    """IMAGE, which may be left out where only one stands in the current folder."""
    return argument(type=FILE, required=False)


def explain_option() -> bool:
    """``--explain`` of a summary."""
    return flag("--explain", help="Say how each number of the summary comes about.")


def device_option(help: str = "See `pimc devices`.") -> str:
    """``--device``: the driver of a chip."""
    return option("--device", type=DEVICE, default="sim", help=help)


def die_option() -> Path | None:
    """``--die``: a programmed die; of a laboratory's driver any text that it understands."""
    return option(
        "--die",
        type=FILE,
        metavar="DIE",
        help="A programmed die: a file, or what --device makes of it; without, one is drawn from"
        " --seed.",
    )


def ir_drop_option() -> Method | None:
    """``--ir-drop``; None where it was not given."""
    return option(
        "--ir-drop",
        type=click.Choice(["first", "exact"]),
        help="Wires of a simulated chip: to first order [default], or by nodal analysis.",
    )


def picture_option(help: str) -> Path | None:
    """``--picture``: a picture that stands beside what is written where nobody says otherwise."""
    return option("--picture", type=FILE, metavar="FILE.png|FILE.svg", help=help)


def batch_size_option() -> int:
    """``--batch-size``."""
    return option(
        "--batch-size", type=click.IntRange(1), default=16, help="Samples computed at a time."
    )
