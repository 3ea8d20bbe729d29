"""The preprocessing options of DATA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.options.fields import option, several
from pimc.cli.options.values import FLOATS, SIZE, STATE, states_of

if TYPE_CHECKING:
    from pimc.data.dataset import Dataset, Role

__all__ = ["DataOptions"]


@dataclass(frozen=True)
class DataOptions:
    """How stored samples become inputs; each takes precedence over ``data.toml``."""

    layout: str | None = option(
        "--layout",
        type=click.STRING,
        help="Axes of a stored array: NCHW, NHWC, NHW, NC, NCT, NTC, any.",
    )
    scale: float | None = option(
        "--scale", type=click.FLOAT, help="Stored values are divided by it first."
    )
    mean: tuple[float, ...] | None = option(
        "--mean", type=FLOATS, help="Subtracted next; one value, or one a channel."
    )
    std: tuple[float, ...] | None = option(
        "--std", type=FLOATS, help="Divided by last; one value, or one a channel."
    )
    size: tuple[int, int] | None = option(
        "--size", type=SIZE, metavar="HxW", help="Images of a folder are resized to it."
    )
    resize: int | None = option(
        "--resize", type=click.IntRange(1), help="The short side of images is resized to it."
    )
    crop: tuple[int, int] | None = option(
        "--crop", type=SIZE, metavar="HxW", help="Cut out of the middle of images, after --resize."
    )
    interpolation: str | None = option(
        "--interpolation",
        type=click.STRING,
        help="How images are resized: nearest, bilinear, bicubic.",
    )

    state: tuple[tuple[str, str], ...] = several(
        "--state",
        type=STATE,
        help="Of a network with a state: the output that feeds an input one step later.",
    )

    @property
    def given(self) -> tuple[str, ...]:
        """The names of those that were given."""
        return tuple(name for name, value in asdict(self).items() if value not in (None, ()))

    def load(
        self,
        path: Path,
        inputs: Sequence[Any],
        role: Role = "calib",
        states: Mapping[str, str] | None = None,
    ) -> Dataset:
        """The data in a file or folder, for a network with these inputs.

        Args:
            states: which output feeds which input where neither the data nor the options say it.

        Raises:
            UsageError: options say it of one input twice.
            DataError: what :func:`~pimc.data.dataset.load_data` raises.
        """
        from pimc.data.dataset import load_data

        keys = asdict(self)
        keys["states"] = states_of(keys.pop("state"))
        return load_data(path, overrides=keys, inputs=inputs, role=role, states=states)
