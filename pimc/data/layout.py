"""How stored values become the network's input, and whether they can.

Images always reach the network as NCHW, everything else with its axes as stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pimc.errors import DataError
from pimc.files.strict import Rule, setting, settle

Shape = tuple[int | None, ...]

_FLOAT32_MAX = float(np.finfo(np.float32).max)

# Layout → (axes of the stored array, channel axis of the network's input); "any" has any number.
_LAYOUTS: Mapping[str, tuple[int | None, int | None]] = {
    "NCHW": (4, 1),
    "NHWC": (4, 1),
    "NHW": (3, 1),
    "NC": (2, 1),
    "NCT": (3, 1),
    "NTC": (3, 2),
    "any": (None, None),
}
_AUTO: Mapping[int, str] = {2: "NC", 4: "NCHW"}


def _is_float32(value: float) -> bool:
    """Whether float32, in which networks compute, can hold a number."""
    return abs(value) <= _FLOAT32_MAX


@dataclass(frozen=True)
class Preprocess:
    """How stored values become the network's input: (x / scale − mean) / std, by channel.

    Raises:
        DataError: a value that no data could be read with.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("mean", lambda p: len(p.mean) > 0, "must not be empty"),
        Rule("std", lambda p: len(p.std) > 0, "must not be empty"),
        Rule(
            "std",
            lambda p: len(p.mean) == len(p.std) or 1 in (len(p.mean), len(p.std)),
            "must have as many entries as mean, or one",
        ),
        Rule("scale", lambda p: _is_float32(p.scale), "lies beyond float32"),
        Rule("std", lambda p: all(map(_is_float32, p.std)), "lies beyond float32"),
        Rule("size", lambda p: p.size is None or len(p.size) == 2, "must be [height, width]"),
        Rule("crop", lambda p: p.crop is None or len(p.crop) == 2, "must be [height, width]"),
        Rule(
            "size",
            lambda p: p.size is None or (p.resize is None and p.crop is None),
            "excludes resize and crop: it says the whole size",
        ),
    )

    layout: str = setting(
        "auto",
        "str",
        "axes of a stored array; auto is NC for two axes, NCHW for four, else any",
        choices=("auto", *_LAYOUTS),
    )
    scale: float = setting(1.0, "float", "stored values are divided by it first", above=0)
    mean: tuple[float, ...] = setting((0.0,), "floats", "subtracted; one value, or one a channel")
    std: tuple[float, ...] = setting(
        (1.0,), "floats", "divided by last; one value, or one a channel", above=0
    )
    size: tuple[int, int] | None = setting(
        None, "ints", "[height, width]: images of a folder are resized to it", above=0
    )
    resize: int | None = setting(
        None, "int", "the short side of images is resized to it, their proportions kept", above=0
    )
    crop: tuple[int, int] | None = setting(
        None,
        "ints",
        "[height, width]: what is cut out of the middle of images, after `resize`",
        above=0,
    )
    interpolation: str = setting(
        "bilinear", "str", "how images are resized", choices=("nearest", "bilinear", "bicubic")
    )

    def __post_init__(self) -> None:
        if problems := settle(self):
            raise DataError("; ".join(problems), where="preprocessing")


def settled(options: Preprocess, stored: tuple[int, ...], where: str) -> Preprocess:
    """The options with the layout of ``stored`` (a shape) in place of ``auto``.

    Raises:
        DataError: the stored array does not have the axes of the stated layout.
    """
    if options.layout == "auto":
        return replace(options, layout=_AUTO.get(len(stored), "any"))
    axes = _LAYOUTS[options.layout][0]
    if axes is not None and len(stored) != axes:
        message = f"x has shape {stored}, layout {options.layout} needs {axes} axes"
        raise DataError(message, where, "state the layout of the stored array")
    return options


def network_shape(stored: Sequence[int], layout: str) -> tuple[int, ...]:
    """Shape that the network gets for a stored shape, samples first."""
    if layout == "NHWC":
        return (stored[0], stored[3], stored[1], stored[2])
    return (stored[0], 1, *stored[1:]) if layout == "NHW" else tuple(stored)


def channel_axis(layout: str) -> int | None:
    """Axis of the channels in the network's input, None where the layout names none."""
    return _LAYOUTS[layout][1]


def check_channels(options: Preprocess, stored: tuple[int, ...], where: str) -> None:
    """Check mean, std and size against a stored shape.

    Raises:
        DataError: another number of channels, or another image size.
    """
    shape, axis = network_shape(stored, options.layout), channel_axis(options.layout)
    channels = 1 if axis is None else shape[axis]
    for name, values in (("mean", options.mean), ("std", options.std)):
        if len(values) not in (1, channels):
            have = f"x of layout {options.layout} has {channels} channels"
            hint = f"give one {name}, or one a channel"
            raise DataError(f"{name} has {len(values)} entries, {have}", where, hint)
    for name in ("size", "crop"):
        wanted = getattr(options, name)
        if wanted is not None and shape[2:] != wanted:
            message = f"{name} is {list(wanted)}, x has shape {stored}"
            raise DataError(message, where, f"stored arrays are not resized: leave {name} out")
    whole = options.crop is None and options.resize is not None
    if whole and (len(shape) != 4 or min(shape[2:]) != options.resize):
        message = f"resize is {options.resize}, x has shape {stored}"
        raise DataError(message, where, "stored arrays are not resized: leave resize out")


def check_input(stored: tuple[int, ...], layout: str, wanted: Shape, where: str) -> None:
    """Check a stored shape against the model's input (batch axis first, None for a free axis).

    Raises:
        DataError: with both shapes, and the layout that would fit where there is one.
    """

    def fits(name: str) -> bool:
        axes = _LAYOUTS[name][0]
        if axes not in (None, len(stored)) or len(stored) < 1:
            return False
        shape = network_shape(stored, name)[1:]
        return len(shape) == len(wanted) - 1 and all(
            want in (None, have) for want, have in zip(wanted[1:], shape, strict=True)
        )

    if fits(layout):
        return
    other = next((name for name in _LAYOUTS if fits(name)), None)
    have = ("N", *network_shape(stored, layout)[1:])
    want = ("N", *("?" if size is None else size for size in wanted[1:]))
    raise DataError(
        f"the model takes {_shown(want)}, the data give {_shown(have)} (stored {stored}, "
        f"layout {layout})",
        where,
        f'the layout looks swapped: try layout = "{other}"' if other else "give data of this model",
    )


def _shown(shape: Sequence[object]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"
