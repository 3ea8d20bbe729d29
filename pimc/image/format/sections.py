"""The manifest of an image by sections: typed where it is written, checked where it is read.

Of what is read, keys that are not known are ignored, as a newer pimc may have added them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pimc.chip.sections import LayerMapping
from pimc.errors import ImageError
from pimc.files.manifest import may_be_null, read_key, read_object
from pimc.files.strict import allowed, described, key, plain_table
from pimc.image.format.notes import (
    CalibrationNote,
    DriftNote,
    InputNote,
    RecoveryNote,
    SourceModel,
)
from pimc.plan.records import Window

__all__ = [
    "LARGEST",
    "MANIFEST",
    "NEWER",
    "NOTES",
    "LayerEntry",
    "Manifest",
    "calibration_note",
    "compile_options",
    "entry_fields",
    "key_rows",
    "read_phases",
    "read_section",
]

#: The largest size of a layer: tables of tiles hold 32-bit numbers.
LARGEST = 2**31 - 1
#: How to mend an image that is not understood.
NEWER = "the image may be of a newer pimc: update pimc, or compile the model again"


def calibration_note(manifest: Mapping[str, Any]) -> CalibrationNote | None:
    """The section ``calibration``; None where there is none.

    Raises:
        ImageError: it is malformed.
    """
    note: CalibrationNote | None = read_section("calibration", manifest)
    if note is None:
        return None
    others = {
        name: InputNote(**read_object(InputNote, entry, f"calibration of {name}", ImageError))
        for name, entry in note.others.items()
    }
    return replace(note, others=others)


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
    groups: int = field(metadata=key("int", "matrices of the layer", low=1, high=LARGEST))
    rows: int = field(metadata=key("int", "inputs of a group", low=1, high=LARGEST))
    cols: int = field(metadata=key("int", "outputs of a group", low=1, high=LARGEST))
    planes: int = field(
        metadata=key(
            "int",
            "cells a weight: 1 (`offset`), 2 (`differential`), `slices` of the mapping (`sliced`)",
            low=1,
            high=LARGEST,
        )
    )
    mapping: LayerMapping = field(
        metadata=key(
            "table",
            "how a weight becomes cells: `kind`, `slices`, `slice_ratio`, `pair`, as in the table "
            "`mapping` of a chip file; `slice_ratio` may be left out",
            table=LayerMapping,
        )
    )
    row_block: int = field(
        metadata=key(
            "int",
            "physical rows of a full tile; row block `t` of a group starts at physical row "
            "`t · row_block`",
            low=1,
            high=LARGEST,
        )
    )
    col_block: int = field(
        metadata=key("int", "physical columns of a full tile", low=1, high=LARGEST)
    )
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
        return values | {
            "window": asdict(self.window) if self.window else None,
            "mapping": plain_table(self.mapping),
        }


#: What a layer's entry notes beside what runs.
NOTES = ("name", "output", "op", "weight_error")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The keys of a manifest, but for those that the container adds."""

    chip: Mapping[str, Any] = field(
        metadata=key("table", "the chip, as in a chip file (`docs/chip.md`), defaults filled in")
    )
    model: SourceModel = field(
        metadata=key(
            "table", "`name` (file name) and `sha256` of the source model", table=SourceModel
        )
    )
    options: Mapping[str, Any] = field(
        metadata=key(
            "table",
            "what the user chose when compiling: `packing`, `feedback`, `equalize`, "
            "`purpose` (`recovery` or `as-programmed`), "
            "`write_noise` (`null`: worked out for recovery), "
            "`digital`, `mapping` and `adc_range` where layers were given one, `rotate` and "
            "`split_rows` where they were asked for, `teacher`, `calibration_images`; "
            "`calibrated`: whether there was calibration data; `faults`: `null`, or the SHA-256 of "
            "the known faults, one line `array,row,col,fault` each; `harden`: epochs of training "
            "under write errors, where there were any; `learn_rounding`: what came of training "
            "codes, scales and ranges, a sentence each, where that was asked for",
        )
    )
    calibration: CalibrationNote | None = field(
        default=None,
        metadata=key(
            "table",
            "optional: how the calibration data were prepared, and which they were, see below",
            table=CalibrationNote,
        ),
    )
    drift: DriftNote | None = field(
        default=None,
        metadata=key(
            "table",
            "optional: the digital side makes up for what time does to the cells, see below",
            table=DriftNote,
        ),
    )
    layers: Sequence[LayerEntry] = field(
        metadata=key("tables", "the layers in the order in which they run, see below")
    )
    phases: tuple[int, ...] = field(
        default=(0,),
        metadata=key(
            "ints",
            "optional: first array of each phase, from 0 on; there where the network is larger "
            "than the chip: the arrays of a phase are written over those of the one before, all "
            "once for every batch",
        ),
    )
    provenance: Mapping[str, Any] = field(
        metadata=key("table", "layer name → the source node it came from")
    )
    recovery: RecoveryNote | None = field(
        metadata=key(
            "table",
            "`null`, or what the recovery that wrote this image did, see below",
            table=RecoveryNote,
        )
    )


def _rows() -> Iterator[tuple[str, str]]:
    yield "format", '`"pimc-image"`'
    yield "version", "a whole number: version of the format, see above"
    yield from ((item.name, info.doc) for item, info in described(Manifest))
    yield "tensors", "hash of every tensor, see above"
    yield "sha256", "hash of the manifest, see above"


#: The keys of the manifest and what they hold.
MANIFEST: Mapping[str, str] = dict(_rows())


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


def read_section(name: str, manifest: Mapping[str, Any]) -> Any:
    """What the key ``name`` of a manifest holds.

    Raises:
        ImageError: it is missing or malformed.
    """
    return read_key(Manifest, name, manifest, "manifest", ImageError, NEWER)


def entry_fields(entry: object, where: str) -> dict[str, Any]:
    """The fields of a :class:`LayerEntry`.

    Raises:
        ImageError: a key is missing or malformed.
    """
    return read_object(LayerEntry, entry, where, ImageError, NEWER)


def read_phases(manifest: Mapping[str, Any]) -> tuple[int, ...]:
    """First array of each phase; of a network that the chip holds at once, 0 alone.

    Raises:
        ImageError: they are not whole numbers that grow from 0 on.
    """
    found: tuple[int, ...] = read_section("phases", manifest)
    if found[:1] != (0,) or tuple(sorted(set(found))) != found:
        raise ImageError("phases: not whole numbers that grow from 0", "manifest", NEWER)
    return found


def key_rows(record: type) -> Iterable[str]:
    """The keys of a described record as rows of a Markdown table: key, value, meaning."""
    for item, info in described(record):
        kind = "an object" if info.table is not None else allowed(info)
        null = ", or `null`" if may_be_null(item) else ""
        yield f"| `{item.name}` | {kind}{null} | {info.doc} |"
