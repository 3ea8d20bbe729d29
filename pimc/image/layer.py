"""One layer of a chip image: its entry in the manifest and its tensors, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import by_weight
from pimc.errors import ImageError
from pimc.files.container import Tensor
from pimc.files.strict import Key, check_value
from pimc.plan.records import Window

#: Tensors every layer has, named ``layer.NNNN.<field>``.
COLUMN_FIELDS = ("zero", "scale", "gain", "bias")
#: Tensors a layer may have.
OPTIONAL_FIELDS = (
    "row_correction",
    "adc_column_lsb_us",
    "teacher_weight",
    "teacher_bias",
    "residual_index",
    "residual_value",
)

#: How to mend an image that is not understood.
NEWER = "the image may be of a newer pimc: update pimc, or compile the model again"
_COUNT = Key("int", "", low=1)
#: What a layer's and a window's entry in the manifest must hold; other keys are not looked at.
_LAYER_KEYS: Mapping[str, Key] = {
    "name": Key("str", ""),
    "output": Key("str", ""),
    "op": Key("str", ""),
    "groups": _COUNT,
    "rows": _COUNT,
    "cols": _COUNT,
    "planes": _COUNT,
    "row_block": _COUNT,
    "col_block": _COUNT,
    "input_scale": Key("float", "", above=0),
    "input_signed": Key("bool", ""),
    "adc_lsb_us": Key("float", "", above=0),
    "weight_error": Key("float", "", low=0),
}
_WINDOW_KEYS: Mapping[str, Key] = {
    "kernel": Key("ints", "", low=1),
    "strides": Key("ints", "", low=1),
    "dilations": Key("ints", "", low=1),
    "pads": Key("ints", "", low=0),
    "auto_pad": Key("str", "", choices=("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")),
}


def layer_tensor(index: int, name: str) -> str:
    """Name of a layer's tensor."""
    return f"layer.{index:04d}.{name}"


@dataclass(frozen=True)
class ImageLayer:
    """One layer of an image; vectors over columns are (groups * cols,).

    Attributes:
        index: position in the image, also in the ``tiles`` tensor.
        row_block: wordlines a tile; row block ``t`` of a group starts at wordline
            ``t · row_block``.
        col_block: bitlines a tile; the reference column of a tile is common to them.
        planes: cells a weight.
        adc_lsb_us: current of one ADC code, µS times DAC code, where columns share one range.
        row_correction: (groups, col_blocks, wordlines) µS, subtracted digitally from every
            column of a column block, times the wordline's input; None before a recovery found it.
        adc_column_lsb_us: (groups, bitlines) current of one ADC code where every column has a
            range of its own, shared by its row blocks; else None.
        teacher_weight, teacher_bias: the float network, (groups, rows, cols) and
            (groups * cols,); None in an image written without a teacher.
        residual_index, residual_value: (n,) weights that the digital side adds to those of the
            cells, before the gain, by their place in (groups, rows, cols), increasing; or None.
        layout: where the cells of a weight lie (:mod:`pimc.chip.codebook`).
    """

    index: int
    name: str
    output: str
    op: str
    groups: int
    rows: int
    cols: int
    planes: int
    row_block: int
    col_block: int
    window: Window | None
    input_scale: float | None
    input_signed: bool
    adc_lsb_us: float
    weight_error: float
    zero: Tensor = field(repr=False)
    scale: Tensor = field(repr=False)
    gain: Tensor = field(repr=False)
    bias: Tensor = field(repr=False)
    row_correction: Tensor | None = field(default=None, repr=False)
    teacher_weight: Tensor | None = field(default=None, repr=False)
    teacher_bias: Tensor | None = field(default=None, repr=False)
    adc_column_lsb_us: Tensor | None = field(default=None, repr=False)
    residual_index: Tensor | None = field(default=None, repr=False)
    residual_value: Tensor | None = field(default=None, repr=False)
    layout: str = "columns"

    @property
    def wordlines(self) -> int:
        """Physical rows, a group."""
        return self.rows * (self.planes if self.layout == "rows" else 1)

    @property
    def bitlines(self) -> int:
        """Physical columns, a group."""
        return self.cols * (1 if self.layout == "rows" else self.planes)

    @property
    def row_blocks(self) -> int:
        """Tiles one under the other, a group."""
        return -(-self.wordlines // self.row_block)

    @property
    def block_of_bitline(self) -> npt.NDArray[np.int64]:
        """(bitlines,) which of the tiles side by side a physical column lies in."""
        if self.layout != "arrays":
            return np.arange(self.bitlines) // self.col_block
        plane, column = np.divmod(np.arange(self.bitlines), self.cols)
        blocks_a_plane = -(-self.cols // self.col_block)
        return np.asarray(plane * blocks_a_plane + column // self.col_block)

    @property
    def col_blocks(self) -> int:
        """Tiles side by side, a group."""
        return int(self.block_of_bitline[-1]) + 1

    @property
    def lsb_us(self) -> float | npt.NDArray[np.float32]:
        """Current of one ADC code: one number, or (groups · row_blocks, bitlines)."""
        if self.adc_column_lsb_us is None:
            return self.adc_lsb_us
        return np.repeat(self.adc_column_lsb_us, self.row_blocks, axis=0)

    @property
    def residual(self) -> npt.NDArray[np.float32] | None:
        """(groups, rows, cols) what the digital side adds to the weights, before the gain."""
        if self.residual_index is None or self.residual_value is None:
            return None
        dense = np.zeros(self.groups * self.rows * self.cols, np.float32)
        dense[self.residual_index] = self.residual_value
        return dense.reshape(self.groups, self.rows, self.cols)

    def by_weight(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values of cells (groups · row_blocks, row_block, bitlines) by weight.

        Returns:
            (groups, rows, cols, planes); the padding of the last block is left out.
        """
        grouped = values.reshape(self.groups, -1, self.bitlines)[:, : self.wordlines]
        return by_weight(grouped, self.planes, self.layout)


def read_layer(
    where: str, index: int, entry: object, tensors: Mapping[str, Tensor], layout: str
) -> ImageLayer:
    """The layer of a manifest's entry; keys that are not known are ignored.

    Args:
        where: what the entry is called in messages.
        layout: where the chip's mapping lays the cells of a weight.

    Raises:
        ImageError: a key or tensor is missing or malformed.
    """
    if not isinstance(entry, Mapping):
        raise ImageError(f"must be an object, not {entry!r}", where, NEWER)
    keys = {**_LAYER_KEYS}
    if entry.get("input_scale", 0) is None:
        del keys["input_scale"]  # each input vector is scaled on its own
    fields = {"input_scale": None, **_checked(entry, keys, where)}
    window = None
    if entry.get("window", 0) is not None:
        inner = f"window of {where}"
        window = Window(**_checked(table(entry, "window", where), _WINDOW_KEYS, inner))
    missing = [n for n in COLUMN_FIELDS if layer_tensor(index, n) not in tensors]
    if missing:
        raise ImageError(f"has no tensor {', '.join(missing)}", where, NEWER)
    fields |= {n: tensors.get(layer_tensor(index, n)) for n in (*COLUMN_FIELDS, *OPTIONAL_FIELDS)}
    layer = ImageLayer(index=index, window=window, layout=layout, **fields)
    _check_residual(layer, where)
    return layer


def _check_residual(layer: ImageLayer, where: str) -> None:
    index, value = layer.residual_index, layer.residual_value
    if index is None and value is None:
        return
    if index is None or value is None or index.ndim != 1 or index.shape != value.shape:
        raise ImageError("residual_index and residual_value do not belong together", where, NEWER)
    size = layer.groups * layer.rows * layer.cols
    bounds = np.concatenate([[-1], index.astype(np.int64), [size]])
    if (np.diff(bounds) <= 0).any():
        raise ImageError(
            f"residual_index must increase from 0 to below {size}, the number of weights",
            where,
            NEWER,
        )


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
