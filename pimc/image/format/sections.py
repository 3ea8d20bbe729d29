"""The manifest of an image by sections: typed where it is written, checked where it is read.

Of what is read, keys that are not known are ignored, as a newer pimc may have added them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pimc.errors import ImageError
from pimc.files.strict import Key, allowed, check_value, described, key
from pimc.plan.records import Window

__all__ = [
    "MANIFEST",
    "NEWER",
    "NOTES",
    "CalibrationNote",
    "LayerEntry",
    "RecoveryNote",
    "SourceModel",
    "compile_options",
    "entry_fields",
    "key_rows",
    "read_phases",
    "read_section",
    "table",
]

#: How to mend an image that is not understood.
NEWER = "the image may be of a newer pimc: update pimc, or compile the model again"

#: The keys of the manifest and what they hold.
MANIFEST: Mapping[str, str] = {
    "format": '`"pimc-image"`',
    "version": "a whole number: version of the format, see above",
    "chip": "the chip, as in a chip file (`docs/chip.md`), defaults filled in",
    "model": "`name` (file name) and `sha256` of the source model",
    "options": "what the user chose when compiling: `packing`, `feedback`, `write_noise`, "
    "`digital`, `teacher`, `calibration_images`; `calibrated`: whether there was calibration data; "
    "`faults`: `null`, or the SHA-256 of the known faults, one line `array,row,col,fault` each; "
    "`harden`: epochs of training under write errors, where there were any",
    "calibration": "optional: how the calibration data were prepared, and which they were, "
    "see below",
    "layers": "the layers in the order in which they run, see below",
    "phases": "optional: first array of each phase, from 0 on; there where the network is larger "
    "than the chip: the arrays of a phase are written over those of the one before, all once for "
    "every batch",
    "provenance": "layer name → the source node it came from",
    "recovery": "`null`, or what the recovery that wrote this image did, see below",
    "tensors": "hash of every tensor, see above",
    "sha256": "hash of the manifest, see above",
}


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
class CalibrationNote:
    """How the calibration data were prepared, and which they were."""

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


@dataclass(frozen=True)
class LayerEntry:
    """A layer's entry in the manifest."""

    name: str = field(
        metadata=key(
            "str",
            "name of the weight initializer; several nodes of the graph, or one in a body of "
            "control flow, may use a layer",
        )
    )
    output: str = field(metadata=key("str", "tensor the layer produces where it is used first"))
    op: str = field(metadata=key("str", "source operator"))
    groups: int = field(metadata=key("int", "matrices of the layer", low=1))
    rows: int = field(metadata=key("int", "inputs of a group", low=1))
    cols: int = field(metadata=key("int", "outputs of a group", low=1))
    planes: int = field(
        metadata=key(
            "int",
            "cells a weight: 1 (`offset`), 2 (`differential`), `mapping.slices` (`sliced`)",
            low=1,
        )
    )
    row_block: int = field(
        metadata=key(
            "int",
            "physical rows of a full tile; row block `t` of a group starts at physical row "
            "`t · row_block`",
            low=1,
        )
    )
    col_block: int = field(metadata=key("int", "physical columns of a full tile", low=1))
    window: Window | None = field(
        metadata=key(
            "table",
            "`null` for matrix products; else `kernel`, `strides`, `dilations`, `pads`, "
            "`auto_pad` in ONNX's terms",
            table=Window,
        )
    )
    input_scale: float | None = field(
        metadata=key(
            "float",
            "input units of one DAC code; `null`: each input vector's largest magnitude is "
            "brought to the largest code",
            above=0,
        )
    )
    input_signed: bool = field(
        metadata=key("bool", "DAC codes are symmetric about zero, else they start at zero")
    )
    adc_lsb_us: float = field(
        metadata=key(
            "float",
            "current of one ADC code, in µS times DAC code; the largest where every column has "
            "its own",
            above=0,
        )
    )
    weight_error: float = field(metadata=key("float", "Σ(ŵ − w)² / Σw² of rounding", low=0))

    def entry(self) -> dict[str, Any]:
        """The JSON object."""
        values = {item.name: getattr(self, item.name) for item, _ in described(LayerEntry)}
        return values | {"window": asdict(self.window) if self.window else None}


#: What a layer's entry notes beside what runs.
NOTES = ("name", "output", "op", "weight_error")

_WINDOW: Mapping[str, Key] = {
    "kernel": Key("ints", "", low=1),
    "strides": Key("ints", "", low=1),
    "dilations": Key("ints", "", low=1),
    "pads": Key("ints", "", low=0),
    "auto_pad": Key("str", "", choices=("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")),
}


def compile_options(
    chosen: Mapping[str, Any], *, calibrated: bool, faults: str | None
) -> dict[str, Any]:
    """The section ``options``.

    Args:
        chosen: what the user chose when compiling, by name.
        calibrated: there was calibration data.
        faults: SHA-256 of the known faults.
    """
    return {**chosen, "calibrated": calibrated, "faults": faults}


def read_section(record: type, entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of a described record; those that may be None are null in the file.

    Raises:
        ImageError: a key is missing or malformed.
    """
    keys = {item.name: info for item, info in described(record)}
    null: dict[str, Any] = {
        item.name: None
        for item, _ in described(record)
        if "None" in str(item.type) and entry.get(item.name, 0) is None
    }
    return null | _checked(entry, {n: info for n, info in keys.items() if n not in null}, where)


def entry_fields(entry: object, where: str) -> dict[str, Any]:
    """The fields of a :class:`LayerEntry`.

    Raises:
        ImageError: a key is missing or malformed.
    """
    if not isinstance(entry, Mapping):
        raise ImageError(f"must be an object, not {entry!r}", where, NEWER)
    keys = {item.name: info for item, info in described(LayerEntry) if info.table is None}
    if entry.get("input_scale", 0) is None:
        del keys["input_scale"]  # each input vector is scaled on its own
    window = None
    found = {"input_scale": None, **_checked(entry, keys, where)}
    if entry.get("window", 0) is not None:
        inner = f"window of {where}"
        window = Window(**_checked(table(entry, "window", where), _WINDOW, inner))
    return found | {"window": window}


def read_phases(manifest: Mapping[str, Any]) -> tuple[int, ...]:
    """First array of each phase; of a network that the chip holds at once, 0 alone.

    Raises:
        ImageError: they are not whole numbers that grow from 0 on.
    """
    found = manifest.get("phases", [0])
    whole = isinstance(found, list) and all(type(start) is int for start in found)
    if not whole or found[:1] != [0] or sorted(set(found)) != found:
        raise ImageError("phases: not whole numbers that grow from 0", "manifest", NEWER)
    return tuple(found)


def _checked(entry: Mapping[str, Any], keys: Mapping[str, Key], where: str) -> dict[str, Any]:
    """The values of ``keys`` in ``entry``."""
    found = {name: check_value(key, entry[name]) for name, key in keys.items() if name in entry}
    problems = [f"{name}: missing" for name in keys if name not in entry]
    problems += [f"{name}: {problem}" for name, (_, problem) in found.items() if problem]
    if problems:
        raise ImageError("; ".join(problems), where, NEWER)
    return {name: value for name, (value, _) in found.items()}


def table(entry: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    """The object ``name`` of a manifest's entry.

    Raises:
        ImageError: it is missing or no object.
    """
    value = entry.get(name)
    if not isinstance(value, Mapping):
        text = f"must be an object, not {value!r}" if name in entry else "missing"
        raise ImageError(f"{name}: {text}", where, NEWER)
    return value


def key_rows(record: type) -> Iterable[str]:
    """The keys of a described record as rows of a Markdown table: key, value, meaning."""
    for item, info in described(record):
        kind = "an object" if info.table is not None else allowed(info)
        null = ", or `null`" if "None" in str(item.type) else ""
        yield f"| `{item.name}` | {kind}{null} | {info.doc} |"
