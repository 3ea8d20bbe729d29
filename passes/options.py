"""What a user can choose about compiling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pimc.chip.layer_mapping import parse_mapping
from pimc.errors import UsageError
from pimc.passes.layout.pack import Packing
from pimc.passes.quantize.adc_choice import parse_range

__all__ = ["CALIBRATION_IMAGES", "Options", "Purpose"]

#: The state of a die that ranges are chosen for.
Purpose: TypeAlias = Literal["recovery", "as-programmed"]

#: Calibration images that the compiler looks at, evenly spread over those given.
CALIBRATION_IMAGES = 64


@dataclass(frozen=True)
class Options:
    """What a user can choose about compiling; goes into the image's manifest.

    Attributes:
        packing: ``dense`` (fewest arrays), ``parallel`` (fewest read steps), ``single`` (one tile
            an array), or the most read steps that an array may take for one input of a layer.
        feedback: error-feedback rounding where there is calibration data.
        write_noise: how much of the programming errors' variance the clipping reckons with, 0
            to 1: a column's scale is chosen for the least squared error of its weights once
            they are rounded and also written as imprecisely as the chip writes. If None, as
            ``purpose`` asks for.
        digital: names or globs of layers that stay off the array.
        teacher: keep the float weights in the image, which recovery distills from.
        calibration_images: images that the compiler looks at.
        array_only: refuse a network with weights that would be computed digitally, but for those
            in ``digital``; not in the manifest, as it changes no image that comes about.
        phases: cut a network that is larger than the chip into phases, which are written one after
            the other for every batch; else it is refused.
        equalize: scale the input channels of layers for the least error, where there is calibration
            data.
        purpose: the state of a die that ranges of weights are chosen for: ``as-programmed``, all
            of the programming errors' variance counts; ``recovery``, what recovery is expected to
            leave of it, layer by layer. If None, recovery where there is calibration data.
        copies: arrays that may be spent, on copies of the layers that take longest, too; None for
            no copies. Not with ``dense`` packing, in which copies share arrays and gain nothing.
        mapping: by names or globs of layers, how their weights become cells where not as the chip
            says: ``{"conv*": "differential", "fc": "sliced:2"}``; of several globs that fit a layer
            the last counts. ``digital`` keeps layers off the array, whatever else fits them.
        learn_rounding: train codes, scales and ranges on the calibration data after quantizing.
        rotate: rotate the channels of transformers where the graph proves that no output changes;
            in the manifest only where it was asked for.
        split_rows: read the rows of tall matrices in groups, each with ranges of its own; needs
            calibration data, and is in the manifest only where it was asked for.
        adc_range: the same of how the ADC's range of a layer is chosen: ``layer`` or ``column``,
            and ``mse`` or ``percentile:99.9``; ``{"fc": "percentile:100"}`` clips nothing.

    Raises:
        UsageError: less than one array for copies, copies with dense packing, or a mapping or a
            range that is not understood.
        ChipError: a number in a mapping is out of its range.
    """

    packing: Packing = "dense"
    feedback: bool = True
    write_noise: float | None = None
    digital: tuple[str, ...] = ()
    teacher: bool = True
    calibration_images: int = CALIBRATION_IMAGES
    array_only: bool = False
    phases: bool = False
    copies: int | None = None
    equalize: bool = True
    purpose: Purpose | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    learn_rounding: bool = False
    rotate: bool = False
    split_rows: bool = False
    adc_range: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.copies is not None and self.copies < 1:
            raise UsageError("copies need arrays", hint="give a number above zero, or None")
        if self.copies is not None and self.packing == "dense":
            raise UsageError(
                "copies that share arrays gain nothing", hint="choose the packing `parallel`"
            )
        for text in self.on_array.values():
            parse_mapping(text)
        for text in self.adc_range.values():
            parse_range(text)

    @property
    def all_digital(self) -> tuple[str, ...]:
        """Globs of all layers that stay off the array."""
        return (*self.digital, *(glob for glob, text in self.mapping.items() if text == "digital"))

    @property
    def on_array(self) -> dict[str, str]:
        """The mappings that are of layers on the array."""
        return {glob: text for glob, text in self.mapping.items() if text != "digital"}

    def serves(self, *, calibrated: bool) -> Purpose:
        """The state of a die that ranges are chosen for.

        Args:
            calibrated: there is calibration data.
        """
        return self.purpose or ("recovery" if calibrated else "as-programmed")

    def counted(self, *, calibrated: bool) -> float | None:
        """How much of the programming errors' variance counts; None for what recovery leaves."""
        if self.write_noise is not None:
            return self.write_noise
        return None if self.serves(calibrated=calibrated) == "recovery" else 1.0
