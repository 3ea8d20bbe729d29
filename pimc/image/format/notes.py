"""Notes of an image: the model it is of, how calibration data were prepared, what recovered it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pimc.files.strict import Rule, default_of, described, key

__all__ = ["CalibrationNote", "DriftNote", "InputNote", "RecoveryNote", "SourceModel"]


@dataclass(frozen=True)
class SourceModel:
    """The model that an image was compiled from."""

    name: str = field(metadata=key("str", "file name"))
    sha256: str = field(metadata=key("str", "fingerprint of the file and its external data"))


@dataclass(frozen=True)
class RecoveryNote:
    """What the recovery that wrote an image did."""

    parent: str = field(metadata=key("str", "identity of the image that was recovered"))
    die: str = field(metadata=key("str", "name of the die"))
    strategy: str = field(metadata=key("str", "the strategy that was followed"))
    cells_rewritten: int = field(
        metadata=key("int", "writes; a cell written twice counts twice", low=0)
    )
    rounds: int = field(metadata=key("int", "rounds of writing", low=0))


@dataclass(frozen=True)
class DriftNote:
    """For which ages the digital side knows how the chip's cells drift."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("ages_s", lambda note: len(note.ages_s) > 1, "must have two entries at least"),
        Rule(
            "ages_s",
            lambda note: all(one < two for one, two in itertools.pairwise(note.ages_s)),
            "must be strictly increasing",
        ),
    )

    ages_s: tuple[float, ...] = field(
        metadata=key("floats", "seconds since the cells were written, increasing", above=0)
    )
    calibrated: bool = field(
        metadata=key("bool", "calibration data said how rows are driven; else all alike")
    )


@dataclass(frozen=True)
class InputNote:
    """How the calibration data of one input were prepared, and which they were."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("mean", lambda note: len(note.mean) > 0, "must not be empty"),
        Rule("std", lambda note: len(note.std) > 0, "must not be empty"),
        Rule("channel_mean", lambda note: len(note.channel_mean) > 0, "must not be empty"),
        Rule(
            "channel_std",
            lambda note: len(note.channel_std) == len(note.channel_mean),
            "must have as many entries as channel_mean",
        ),
    )

    layout: str = field(metadata=key("str", "axes of the stored array, as in `data.toml`"))
    scale: float = field(metadata=key("float", "stored values were divided by it", above=0))
    mean: tuple[float, ...] = field(metadata=key("floats", "subtracted; one, or one a channel"))
    std: tuple[float, ...] = field(
        metadata=key("floats", "divided by last; one, or one a channel", above=0)
    )
    size: tuple[int, ...] | None = field(
        metadata=key("ints", "height and width that images were resized to", low=1)
    )
    samples: int = field(metadata=key("int", "inputs that ranges were chosen on", low=1))
    sha256: str = field(
        metadata=key("str", "hash of these inputs as the network got them, as of a tensor")
    )
    channel_mean: tuple[float, ...] = field(
        metadata=key("floats", "their mean, by channel of images of up to four, else of all")
    )
    channel_std: tuple[float, ...] = field(
        metadata=key("floats", "their standard deviation, likewise", low=0)
    )
    low: float = field(metadata=key("float", "the least of their values"))
    high: float = field(metadata=key("float", "the largest"))
    resize: int | None = field(
        default=None,
        metadata=key("int", "optional: what the short side of images was resized to", low=1),
    )
    crop: tuple[int, ...] | None = field(
        default=None,
        metadata=key(
            "ints", "optional: height and width that were cut out of the middle of images", low=1
        ),
    )
    interpolation: str = field(
        default="bilinear",
        metadata=key(
            "str",
            "optional: how images were resized; `bilinear` where it is left out",
            choices=("nearest", "bilinear", "bicubic"),
        ),
    )


@dataclass(frozen=True)
class CalibrationNote(InputNote):
    """How the calibration data were prepared, those of the first input and those of others."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        *InputNote.RULES,
        Rule(
            "states",
            lambda note: all(isinstance(output, str) for output in note.states.values()),
            "must name outputs",
        ),
    )

    classes: tuple[str, ...] = field(
        default=(),
        metadata=key("strs", "optional: names of the classes in the order of their numbers"),
    )
    others: Mapping[str, Any] = field(
        default_factory=dict,
        metadata=key(
            "table",
            "optional, where the network has several inputs: of each but the first, by its name, "
            "an object with the keys `layout` to `interpolation`",
        ),
    )

    states: Mapping[str, str] = field(
        default_factory=dict,
        metadata=key(
            "table",
            "optional, where the network has a state: by the name of an input, that of the output "
            "that feeds it one step later; what is said of the first input holds for the first "
            "that is no state",
        ),
    )

    def of(self, number: int, name: str) -> InputNote | None:
        """The note of an input, by its number among those that are no states, and its name."""
        return self if number == 0 else self.others.get(name)

    def entry(self) -> dict[str, Any]:
        """The JSON object; what is optional and as it is without it is left out."""
        whole = _stated(self)
        others = {name: _stated(note) for name, note in self.others.items()}
        return whole | ({"others": others} if others else {})


def _stated(note: InputNote) -> dict[str, Any]:
    """The fields of a note; those that are as they are by default are left out."""
    return {
        item.name: getattr(note, item.name)
        for item, _ in described(type(note))
        if item.name != "others" and getattr(note, item.name) != default_of(item)
    }
