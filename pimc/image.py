"""The chip image: everything a driver needs to program and run a chip, in one file.

One safetensors file with one metadata key, ``manifest``: canonical JSON with a SHA-256
for every tensor and for itself. The format is specified in ``docs/image-format.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pimc import container
from pimc.chip import Chip
from pimc.container import Tensor
from pimc.errors import ChipError, ImageError
from pimc.mapping import Codebook, by_weight, codebook
from pimc.packing import bits_per_cell, pack_levels, unpack_levels
from pimc.plan import Window
from pimc.strict import Key, check_value

if TYPE_CHECKING:
    import onnx_ir as ir

FORMAT = "pimc-image"
VERSION = 1
SUFFIX = ".pimc"

#: Columns of the ``tiles`` tensor.
TILE_FIELDS = (
    "layer", "group", "row", "rows", "col", "cols", "array", "array_row", "array_col",
)  # fmt: skip
#: Tensors every layer has, named ``layer.NNNN.<field>``.
COLUMN_FIELDS = ("zero", "scale", "gain", "bias")
#: Tensors a layer may have.
OPTIONAL_FIELDS = ("row_correction", "adc_column_lsb_us", "teacher_weight", "teacher_bias")

_NEWER = "the image may be of a newer pimc: update pimc, or compile the model again"
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

    def by_weight(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values of cells (groups · row_blocks, row_block, bitlines) by weight.

        Returns:
            (groups, rows, cols, planes); the padding of the last block is left out.
        """
        grouped = values.reshape(self.groups, -1, self.bitlines)[:, : self.wordlines]
        return by_weight(grouped, self.planes, self.layout)


@dataclass(frozen=True)
class Image:
    """A chip image in memory.

    Attributes:
        manifest: the JSON object of the file.
        tensors: the file's tensors by name.
    """

    manifest: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(repr=False)

    @staticmethod
    def build(manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Image:
        """An image from its parts; hashes are filled in."""
        return Image(*container.seal(FORMAT, VERSION, manifest, tensors))

    @property
    def sha256(self) -> str:
        """Identity of the content."""
        return str(self.manifest["sha256"])

    @cached_property
    def chip(self) -> Chip:
        """The chip the image is for.

        Raises:
            ImageError: none is there, or one with keys or values that this pimc does not know.
        """
        try:
            return Chip.from_dict(_table(self.manifest, "chip", "manifest"))
        except ChipError as cause:
            raise ImageError(cause.message, "chip of the manifest", cause.hint or _NEWER) from cause

    @cached_property
    def codebook(self) -> Codebook:
        """The chip's mapping table."""
        return codebook(self.chip)

    @property
    def arrays(self) -> int:
        """Arrays in use."""
        return int(self.tensors["levels"].shape[0])

    @cached_property
    def layers(self) -> tuple[ImageLayer, ...]:
        """All layers in the order in which they run; keys that are not known are ignored.

        Raises:
            ImageError: a key or tensor of a layer is missing or malformed.
        """
        entries = self.manifest.get("layers")
        if not isinstance(entries, list):
            raise ImageError("layers: missing, or no list", "manifest", _NEWER)
        return tuple(
            _layer(
                f"layer {index} of the manifest", index, entry, self.tensors, self.chip.mapping.pair
            )
            for index, entry in enumerate(entries)
        )

    @cached_property
    def levels(self) -> npt.NDArray[np.uint16]:
        """(arrays, rows, cols) level of every cell; cells no tile uses hold 0."""
        chip = self.chip
        rows, cols = chip.array.rows, chip.array.cols
        flat = unpack_levels(self.tensors["levels"], bits_per_cell(chip.cell.levels), rows * cols)
        return flat.reshape(-1, rows, cols)

    def graph(self) -> ir.Model:
        """The digital part of the network; array layers are nodes of domain ``pimc``."""
        import onnx
        import onnx_ir

        proto = onnx.ModelProto.FromString(self.tensors["graph"].tobytes())
        model: ir.Model = onnx_ir.from_proto(proto)
        return model

    @cached_property
    def used(self) -> npt.NDArray[np.bool_]:
        """(arrays, rows, cols) cells that hold a weight."""
        mask = np.zeros(self.levels.shape, dtype=np.bool_)
        for layer in self.layers:
            cells = self.cells(layer)
            mask.reshape(-1)[cells[cells >= 0]] = True
        return mask

    def cells(self, layer: ImageLayer) -> npt.NDArray[np.int64]:
        """Address of every cell of a layer: (groups · row_blocks, row_block, bitlines).

        An address is ``(array · rows + wordline) · cols + bitline``; −1 pads the last block.
        """
        array = self.chip.array
        blocks = layer.row_blocks
        cells = np.full((layer.groups * blocks, layer.row_block, layer.bitlines), -1, np.int64)
        tiles = self.tensors["tiles"]
        for number in np.flatnonzero(tiles[:, 0] == layer.index):
            tile = dict(zip(TILE_FIELDS, tiles[number].tolist(), strict=True))
            wordlines, bitlines = self._lines(int(number), tile)
            block = tile["group"] * blocks + tile["row"] // layer.row_block
            cells[block, : tile["rows"], tile["col"] : tile["col"] + tile["cols"]] = (
                tile["array"] * array.rows + wordlines[:, None]
            ) * array.cols + bitlines
        return cells

    def _lines(self, number: int, tile: Mapping[str, int]) -> tuple[Tensor, Tensor]:
        start = int(self.tensors["line_offsets"][number]) if "lines" in self.tensors else -1
        if start < 0:
            return (
                tile["array_row"] + np.arange(tile["rows"]),
                tile["array_col"] + np.arange(tile["cols"]),
            )
        lines = self.tensors["lines"][start : start + tile["rows"] + tile["cols"]]
        return lines[: tile["rows"]], lines[tile["rows"] :]

    def with_levels(self, levels: npt.NDArray[np.uint16]) -> dict[str, Tensor]:
        """The tensors of this image with other levels, (arrays, rows, cols)."""
        bits = bits_per_cell(self.chip.cell.levels)
        packed = pack_levels(levels.reshape(len(levels), -1), bits)
        return {**self.tensors, "levels": packed}

    def updated(
        self,
        *,
        levels: npt.NDArray[np.uint16] | None = None,
        columns: Mapping[int, Mapping[str, Tensor]] | None = None,
        **manifest: Any,
    ) -> Image:
        """A new image with other levels, other layer tensors or other manifest entries."""
        tensors = self.with_levels(levels) if levels is not None else dict(self.tensors)
        for index, values in (columns or {}).items():
            tensors |= {layer_tensor(index, name): value for name, value in values.items()}
        return Image.build({**self.manifest, **manifest}, tensors)

    def to_bytes(self) -> bytes:
        """The file's bytes; equal images give equal bytes."""
        return container.to_bytes(self.manifest, self.tensors)

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            UsageError: the file cannot be written.
        """
        container.save(path, self.manifest, self.tensors)

    @staticmethod
    def load(path: str | Path) -> Image:
        """Read and verify a file.

        Raises:
            ImageError: not an image, damaged, altered, or of a newer format version.
        """
        return Image(*container.load(path, FORMAT, VERSION, ImageError))


def _layer(
    where: str, index: int, entry: object, tensors: Mapping[str, Tensor], layout: str
) -> ImageLayer:
    if not isinstance(entry, Mapping):
        raise ImageError(f"must be an object, not {entry!r}", where, _NEWER)
    keys = {**_LAYER_KEYS}
    if entry.get("input_scale", 0) is None:
        del keys["input_scale"]  # each input vector is scaled on its own
    fields = {"input_scale": None, **_checked(entry, keys, where)}
    window = None
    if entry.get("window", 0) is not None:
        inner = f"window of {where}"
        window = Window(**_checked(_table(entry, "window", where), _WINDOW_KEYS, inner))
    missing = [n for n in COLUMN_FIELDS if layer_tensor(index, n) not in tensors]
    if missing:
        raise ImageError(f"has no tensor {', '.join(missing)}", where, _NEWER)
    fields |= {n: tensors.get(layer_tensor(index, n)) for n in (*COLUMN_FIELDS, *OPTIONAL_FIELDS)}
    return ImageLayer(index=index, window=window, layout=layout, **fields)


def _checked(entry: Mapping[str, Any], keys: Mapping[str, Key], where: str) -> dict[str, Any]:
    """The values of ``keys`` in ``entry``."""
    found = {name: check_value(key, entry[name]) for name, key in keys.items() if name in entry}
    problems = [f"{name}: missing" for name in keys if name not in entry]
    problems += [f"{name}: {problem}" for name, (_, problem) in found.items() if problem]
    if problems:
        raise ImageError("; ".join(problems), where, _NEWER)
    return {name: value for name, (value, _) in found.items()}


def _table(entry: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = entry.get(name)
    if not isinstance(value, Mapping):
        text = f"must be an object, not {value!r}" if name in entry else "missing"
        raise ImageError(f"{name}: {text}", where, _NEWER)
    return value
