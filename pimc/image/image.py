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

from pimc.chip.codebook import Codebook, codebook
from pimc.chip.design import Chip
from pimc.errors import ChipError, ImageError
from pimc.files import container
from pimc.files.container import Content, Tensor
from pimc.files.onnx_outline import model_in
from pimc.files.packing import bits_per_cell, pack_levels, unpack_levels
from pimc.image.layer import (
    COLUMN_FIELDS,
    NEWER,
    OPTIONAL_FIELDS,
    ImageLayer,
    layer_tensor,
    read_layer,
    table,
)

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = [
    "COLUMN_FIELDS",
    "FORMAT",
    "OPTIONAL_FIELDS",
    "SUFFIX",
    "TILE_FIELDS",
    "VERSION",
    "Image",
    "ImageLayer",
    "layer_tensor",
]

FORMAT = "pimc-image"
VERSION = 1
SUFFIX = ".pimc"

#: Columns of the ``tiles`` tensor.
TILE_FIELDS = (
    "layer", "group", "row", "rows", "col", "cols", "array", "array_row", "array_col",
)  # fmt: skip


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

    @staticmethod
    def written(
        path: str | Path, manifest: Mapping[str, Any], contents: Mapping[str, Content]
    ) -> Image:
        """An image from its parts, written while they are worked out, and read from the file.

        Raises:
            UsageError: the file cannot be written.
        """
        return Image(*container.stream(path, FORMAT, VERSION, manifest, contents))

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
            return Chip.from_dict(table(self.manifest, "chip", "manifest"))
        except ChipError as cause:
            raise ImageError(cause.message, "chip of the manifest", cause.hint or NEWER) from cause

    @cached_property
    def codebook(self) -> Codebook:
        """The chip's mapping table."""
        return codebook(self.chip)

    @property
    def arrays(self) -> int:
        """Arrays in use."""
        return int(self.tensors["levels"].shape[0])

    @property
    def phases(self) -> tuple[int, ...]:
        """First array of each phase; of a network that the chip holds at once, 0 alone.

        Raises:
            ImageError: they are not whole numbers that grow from 0 on.
        """
        found = self.manifest.get("phases", [0])
        whole = isinstance(found, list) and all(type(start) is int for start in found)
        if not whole or found[:1] != [0] or sorted(set(found)) != found:
            raise ImageError("phases: not whole numbers that grow from 0", "manifest", NEWER)
        return tuple(found)

    @property
    def arrays_at_once(self) -> int:
        """Arrays of the largest phase."""
        ends = (*self.phases[1:], self.arrays)
        return max(end - start for start, end in zip(self.phases, ends, strict=True))

    @cached_property
    def layers(self) -> tuple[ImageLayer, ...]:
        """All layers in the order in which they run; keys that are not known are ignored.

        Raises:
            ImageError: a key or tensor of a layer is missing or malformed.
        """
        entries = self.manifest.get("layers")
        if not isinstance(entries, list):
            raise ImageError("layers: missing, or no list", "manifest", NEWER)
        return tuple(
            read_layer(
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
        return model_in(self.tensors["graph"].data)

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
            wordlines, bitlines = self.lines(int(number))
            block = tile["group"] * blocks + tile["row"] // layer.row_block
            cells[block, : tile["rows"], tile["col"] : tile["col"] + tile["cols"]] = (
                tile["array"] * array.rows + wordlines[:, None]
            ) * array.cols + bitlines
        return cells

    def lines(self, number: int) -> tuple[Tensor, Tensor]:
        """Wordlines and bitlines of a tile."""
        tile = dict(zip(TILE_FIELDS, self.tensors["tiles"][number].tolist(), strict=True))
        start = int(self.tensors["line_offsets"][number]) if "lines" in self.tensors else -1
        if start < 0:
            return (
                tile["array_row"] + np.arange(tile["rows"]),
                tile["array_col"] + np.arange(tile["cols"]),
            )
        lines = self.tensors["lines"][start : start + tile["rows"] + tile["cols"]]
        return lines[: tile["rows"]], lines[tile["rows"] :]

    def updated(
        self,
        *,
        levels: npt.NDArray[np.uint16] | None = None,
        cells: npt.NDArray[np.int64] | None = None,
        columns: Mapping[int, Mapping[str, Tensor]] | None = None,
        **manifest: Any,
    ) -> Image:
        """A new image with other levels, other layer tensors or other manifest entries.

        Other levels of ``cells`` cost what the arrays do in which these lie, beside one copy and
        one hash of the packed bytes; what stays is not hashed again.

        Args:
            levels: of every cell, (arrays, rows, cols), or of ``cells`` alone.
            cells: addresses of those that ``levels`` is of, each at most once.
        """
        tensors = dict(self.tensors)
        if levels is not None:
            if cells is None:
                cells = np.flatnonzero(levels != self.levels)
                levels = levels.reshape(-1)[cells]
            tensors["levels"] = self._packed(cells, levels)
        for index, values in (columns or {}).items():
            tensors |= {layer_tensor(index, name): value for name, value in values.items()}
        old = self.manifest.get("tensors", {})
        known = {
            name: old[name]
            for name, value in tensors.items()
            if name in old and value is self.tensors.get(name)
        }
        whole = {**self.manifest, **manifest}
        return Image(*container.seal(FORMAT, VERSION, whole, tensors, known))

    def _packed(self, cells: npt.NDArray[np.int64], levels: npt.NDArray[np.uint16]) -> Tensor:
        """The packed levels, those of some cells replaced."""
        chip = self.chip
        bits, size = bits_per_cell(chip.cell.levels), chip.array.rows * chip.array.cols
        array, place = np.divmod(cells, size)
        touched, row = np.unique(array, return_inverse=True)
        packed = self.tensors["levels"].copy()
        held = unpack_levels(packed[touched], bits, size)
        held[row, place] = levels
        packed[touched] = pack_levels(held, bits)
        return packed

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
        """Verify a file; its tensors are read from it when they are looked at.

        Raises:
            ImageError: not an image, damaged, altered, or of a newer format version.
        """
        return Image(*container.load(path, FORMAT, VERSION, ImageError, in_place=True))
