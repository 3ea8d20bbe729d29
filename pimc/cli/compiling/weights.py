"""Options of ``pimc compile`` that say how weights become codes, and what converters take in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.options.fields import flag, option, several
from pimc.cli.options.values import ADC_RANGE, within

if TYPE_CHECKING:
    from pimc.passes.options import Purpose

__all__ = ["WeightOptions"]


@dataclass(frozen=True)
class WeightOptions:
    """How the quantizer works, and what is done before and after it."""

    adc_range: tuple[tuple[str, str], ...] = several(
        "--adc-range",
        type=ADC_RANGE,
        metavar="[LAYER=]WHAT",
        help="How the ADCs' range is chosen: layer or column, what shares one; mse or"
        " percentile:99.9, how it is found; two of them as in column,mse. For layers whose name"
        " fits LAYER=, else for all others. May be given again.",
    )
    harden: bool = flag(
        "--harden", help="Train the weights for the chip's write errors; needs --calib."
    )
    learn_rounding: bool = flag(
        "--learn-rounding",
        help="Train codes, scales and ranges toward the float network; needs --calib.",
    )
    no_feedback: bool = flag("--no-feedback", help="Round every weight on its own.")
    no_equalize: bool = flag(
        "--no-equalize", help="Leave the scales of the layers' input channels as they are."
    )
    rotate: bool = flag(
        "--rotate", help="Rotate the channels of transformers where that changes no output."
    )
    split_rows: bool = flag(
        "--split-rows",
        help="Read tall matrices in groups of rows, each with ranges of its own; needs --calib.",
    )
    purpose: Purpose | None = option(
        "--for",
        type=click.Choice(["recovery", "as-programmed"]),
        help="The state of a die that ranges of weights are chosen for.  [default: recovery with"
        " --calib, else as-programmed]",
    )
    write_noise: float | None = option(
        "--write-noise",
        type=within(0, 1),
        help="Share of the variance of write errors that ranges of weights reckon with.  [default:"
        " 1; for recovery what that is expected to leave, layer by layer]",
    )

    def check(self, *, calib: bool, teacher: bool) -> None:
        """Make sure that what is trained can be.

        Args:
            calib: there are calibration data.
            teacher: float weights go into the image.

        Raises:
            UsageError: it cannot.
        """
        from pimc.errors import UsageError

        if self.harden and not (calib and teacher):
            raise UsageError(
                "--harden trains toward the float network on calibration data",
                hint="give --calib, and leave out --no-teacher",
            )
        if self.learn_rounding and not calib:
            raise UsageError("--learn-rounding trains on calibration data", hint="give --calib")
        if self.learn_rounding and self.harden:
            raise UsageError(
                "--harden trains all weights anew, whatever --learn-rounding made of them",
                hint="give --harden alone, or --learn-rounding with --for as-programmed",
            )

    @property
    def chosen(self) -> dict[str, Any]:
        """The same as fields of :class:`~pimc.passes.options.Options`."""
        return {
            "adc_range": {glob: text for glob, text in self.adc_range if glob},
            "feedback": not self.no_feedback,
            "equalize": not self.no_equalize,
            "purpose": self.purpose,
            "write_noise": self.write_noise,
            "learn_rounding": self.learn_rounding,
            "rotate": self.rotate,
            "split_rows": self.split_rows,
        }
