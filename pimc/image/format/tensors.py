"""Every tensor of an image: name, type, shape and meaning.

What stands here is all there is. Emitting writes these fields, loading checks them, and the table
in ``docs/image-format.md`` is made of them. A new tensor is a new field; an optional one takes no
new version of the format (:mod:`pimc.image.format.migrations`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pimc.chip.codebook import Codebook
from pimc.chip.design import Chip
from pimc.files.schema import Range, tensor, tensors_of
from pimc.files.weights.packing import packed_bytes
from pimc.image.format.tables import TILE_FIELDS

__all__ = [
    "IMAGE_TENSORS",
    "LAYER_TENSORS",
    "ImageTensors",
    "LayerTensors",
    "image_ranges",
    "image_sizes",
    "layer_tensor",
]

#: Arrays where an image is read, :class:`~pimc.files.tensor_file.Content` where it is written.
T_co = TypeVar("T_co", covariant=True)

#: Size of an array's packed levels, as the specification writes it.
_PACKED = "⌈array rows · array cols · bits / 8⌉"


@dataclass(frozen=True, eq=False)
class ImageTensors(Generic[T_co]):
    """The tensors that an image has once."""

    graph: T_co = field(
        repr=False,
        metadata=tensor(
            "uint8",
            ("bytes",),
            "the digital part, an ONNX `ModelProto`; a layer is a node `Array` of domain `pimc` "
            "with the string attribute `layer`",
        ),
    )
    levels: T_co = field(
        repr=False,
        metadata=tensor("uint8", ("arrays", _PACKED), "packed level of every cell, array by array"),
    )
    tiles: T_co = field(
        repr=False,
        metadata=tensor(
            "int32",
            ("tiles", len(TILE_FIELDS)),
            f"`{', '.join(TILE_FIELDS)}`",
            values="not negative",
        ),
    )
    schedule: T_co = field(
        repr=False,
        metadata=tensor(
            "int32",
            ("tiles", 2),
            "read step and tile, in the order in which they happen",
            values="not negative",
        ),
    )
    lines: T_co | None = field(
        default=None,
        repr=False,
        metadata=tensor(
            "int32",
            ("any",),
            "wordlines and bitlines of moved tiles",
            values="not negative",
            optional=True,
            needs="line_offsets",
        ),
    )
    line_offsets: T_co | None = field(
        default=None,
        repr=False,
        metadata=tensor(
            "int32",
            ("tiles",),
            "where a tile's wordlines begin in `lines`, its bitlines behind them; −1: consecutive",
            values="finite",
            optional=True,
            needs="lines",
        ),
    )


@dataclass(frozen=True, eq=False)
class LayerTensors(Generic[T_co]):
    """The tensors of one layer, named ``layer.NNNN.<field>``."""

    zero: T_co = field(
        repr=False,
        metadata=tensor("uint16", ("groups · cols",), "code that means weight 0", values="codes"),
    )
    scale: T_co = field(
        repr=False,
        metadata=tensor("float32", ("groups · cols",), "weight a µS", values="positive"),
    )
    gain: T_co = field(
        repr=False,
        metadata=tensor(
            "float32",
            ("groups · cols",),
            "digital gain, before a recovery 1, or −1 of columns whose cells hold −w",
            values="finite",
        ),
    )
    bias: T_co = field(
        repr=False,
        metadata=tensor("float32", ("groups · cols",), "digital offset", values="finite"),
    )
    row_correction: T_co | None = field(
        default=None,
        repr=False,
        metadata=tensor(
            "float32",
            ("groups", "column blocks", "physical rows"),
            "µS, see below",
            values="finite",
            optional=True,
        ),
    )
    residual_index: T_co | None = field(
        default=None,
        repr=False,
        metadata=tensor(
            "int32",
            ("n",),
            "places in (groups, rows, cols), increasing",
            values="not negative",
            optional=True,
            needs="residual_value",
        ),
    )
    residual_value: T_co | None = field(
        default=None,
        repr=False,
        metadata=tensor(
            "float32",
            ("n",),
            "what is added to those weights, see below",
            values="finite",
            optional=True,
            needs="residual_index",
        ),
    )
    adc_column_lsb_us: T_co | None = field(
        default=None,
        repr=False,
        metadata=tensor(
            "float32",
            ("groups", "physical columns"),
            "in place of `adc_lsb_us`: the range of each column, the same in all its tiles",
            values="positive",
            optional=True,
        ),
    )
    drift_gain: T_co | None = field(
        default=None,
        repr=False,
        metadata=tensor(
            "float32",
            ("ages", "groups · cols"),
            "factor of what codes are worth at each of `drift.ages_s`, see below",
            values="positive",
            optional=True,
            needs="drift_pedestal",
        ),
    )
    drift_pedestal: T_co | None = field(
        default=None,
        repr=False,
        metadata=tensor(
            "float32",
            ("ages", "groups · cols"),
            "µS, see below",
            values="finite",
            optional=True,
            needs="drift_offset",
        ),
    )
    drift_offset: T_co | None = field(
        default=None,
        repr=False,
        metadata=tensor(
            "float32",
            ("ages", "groups · cols"),
            "µS times DAC code, see below",
            values="finite",
            optional=True,
            needs="drift_gain",
        ),
    )
    teacher_weight: T_co | None = field(
        default=None,
        repr=False,
        metadata=tensor(
            "float32",
            ("groups", "rows", "cols"),
            "the float network's",
            values="finite",
            optional=True,
            runs=False,
        ),
    )
    teacher_bias: T_co | None = field(
        default=None,
        repr=False,
        metadata=tensor(
            "float32",
            ("groups · cols",),
            "the float network's",
            values="finite",
            optional=True,
            runs=False,
        ),
    )


#: The tensors by field name.
IMAGE_TENSORS, LAYER_TENSORS = tensors_of(ImageTensors), tensors_of(LayerTensors)


def layer_tensor(index: int | str, name: str) -> str:
    """Name of a layer's tensor in the file."""
    number = index if isinstance(index, str) else f"{index:04d}"
    return f"layer.{number}.{name}"


def image_ranges(book: Codebook) -> dict[str, Range]:
    """Ranges of what tensors hold, by the names of their records."""
    return {"codes": (0, len(book.values_us) - 1)}


def image_sizes(chip: Chip) -> dict[str, int]:
    """Sizes of an image's tensors by the names of :class:`ImageTensors`."""
    return {_PACKED: packed_bytes(chip.cell.levels, chip.array.rows * chip.array.cols)}
