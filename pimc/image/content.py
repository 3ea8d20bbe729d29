"""What an image holds: sections of its manifest, tables of its tensors, and cells by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import Codebook, codebook
from pimc.chip.design import Chip
from pimc.chip.layer_mapping import require_mapping
from pimc.chip.sections import LayerMapping
from pimc.errors import ChipError, ImageError
from pimc.files.tensor_file import Tensor
from pimc.files.weights.onnx_outline import model_in
from pimc.files.weights.packing import bits_per_cell, unpack_levels
from pimc.image.format.notes import CalibrationNote, DriftNote, RecoveryNote, SourceModel
from pimc.image.format.sections import (
    NEWER,
    LayerEntry,
    calibration_note,
    read_phases,
    read_section,
)
from pimc.image.format.tables import Schedule, Tiles
from pimc.image.layer import ImageLayer, read_layer

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["ImageContent"]


@dataclass(frozen=True)
class ImageContent:
    """A manifest and tensors, read by what they mean.

    Attributes:
        manifest: the JSON object of the file.
        tensors: the file's tensors by name.
        identity: that of the file, where it was of an older version of the format.
    """

    manifest: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(repr=False)
    identity: str | None = field(default=None, kw_only=True)

    @property
    def sha256(self) -> str:
        """Identity of the content; captures, dies' journals and later images name it.

        A file of an older version keeps the one that it was written with.
        """
        return self.identity or str(self.manifest["sha256"])

    @cached_property
    def chip(self) -> Chip:
        """The chip the image is for.

        Raises:
            ImageError: none is there, or one with keys or values that this pimc does not know.
        """
        try:
            return Chip.from_dict(read_section("chip", self.manifest))
        except ChipError as cause:
            raise ImageError(cause.message, "chip of the manifest", cause.hint or NEWER) from cause

    @cached_property
    def codebook(self) -> Codebook:
        """The table of the chip's own mapping; a layer may have another."""
        return codebook(self.chip)

    def codebook_of(self, layer: LayerEntry) -> Codebook:
        """The table of a layer's mapping.

        Raises:
            ImageError: the chip cannot hold a layer in this mapping.
        """
        mapping = layer.mapping
        if mapping not in self._codebooks:
            try:
                require_mapping(self.chip, mapping, f"layer {layer.name}")
            except ChipError as cause:
                raise ImageError(cause.message, cause.where, cause.hint or NEWER) from cause
            self._codebooks[mapping] = codebook(self.chip, mapping)
        return self._codebooks[mapping]

    @cached_property
    def _codebooks(self) -> dict[LayerMapping, Codebook]:
        return {}

    @property
    def model(self) -> SourceModel:
        """The model that the image was compiled from.

        Raises:
            ImageError: it is missing or malformed.
        """
        model: SourceModel = read_section("model", self.manifest)
        return model

    @property
    def options(self) -> Mapping[str, Any]:
        """What was chosen when compiling, by name.

        Raises:
            ImageError: it is missing or no object.
        """
        options: Mapping[str, Any] = read_section("options", self.manifest)
        return options

    @property
    def calibrated(self) -> bool:
        """Whether there was calibration data when the image was compiled."""
        return bool(self.options.get("calibrated", False))

    @property
    def calibration(self) -> CalibrationNote | None:
        """How the calibration data were prepared; None without any, or in an older image.

        Raises:
            ImageError: the note is malformed.
        """
        return calibration_note(self.manifest)

    @property
    def states(self) -> Mapping[str, str]:
        """Of a network with a state, the output that feeds an input, as calibration data said."""
        note = self.calibration
        return {} if note is None else note.states

    @property
    def recovery(self) -> RecoveryNote | None:
        """What the recovery that wrote the image did; None where none did.

        Raises:
            ImageError: the note is malformed.
        """
        note: RecoveryNote | None = read_section("recovery", self.manifest)
        return note

    @property
    def drift(self) -> DriftNote | None:
        """For which ages the digital side makes up for drift; None where it does not.

        Raises:
            ImageError: the note is malformed.
        """
        note: DriftNote | None = read_section("drift", self.manifest)
        return note

    @property
    def arrays(self) -> int:
        """Arrays in use."""
        return int(self.packed_levels.shape[0])

    @property
    def phases(self) -> tuple[int, ...]:
        """First array of each phase; of a network that the chip holds at once, 0 alone.

        Raises:
            ImageError: they are not whole numbers that grow from 0 on.
        """
        return read_phases(self.manifest)

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
        entries = read_section("layers", self.manifest)
        return tuple(
            read_layer(f"layer {index} of the manifest", index, entry, self.tensors)
            for index, entry in enumerate(entries)
        )

    @cached_property
    def tiles(self) -> Tiles:
        """Where every tile lies."""
        return Tiles.of(self._tensor("tiles"))

    @cached_property
    def schedule(self) -> Schedule:
        """What is read when."""
        return Schedule.of(self._tensor("schedule"))

    @property
    def packed_levels(self) -> Tensor:
        """(arrays, bytes) levels of all cells, packed array by array."""
        return self._tensor("levels")

    @cached_property
    def levels(self) -> npt.NDArray[np.uint16]:
        """(arrays, rows, cols) level of every cell; cells no tile uses hold 0."""
        chip = self.chip
        rows, cols = chip.array.rows, chip.array.cols
        flat = unpack_levels(self.packed_levels, bits_per_cell(chip.cell.levels), rows * cols)
        return flat.reshape(-1, rows, cols)

    @property
    def graph_bytes(self) -> Tensor:
        """The digital part of the network as an ONNX file, (bytes,)."""
        return self._tensor("graph")

    def graph(self) -> ir.Model:
        """The digital part of the network; array layers are nodes of domain ``pimc``.

        Raises:
            ImageError: the tensor holds no ONNX model.
        """
        try:
            return model_in(self.graph_bytes.data)
        except ImageError:
            raise
        except Exception as cause:  # the library says in many ways that bytes are no model
            message = f"tensor graph: holds no ONNX model: {str(cause).partition(chr(10))[0]}"
            raise ImageError(message, "the image", NEWER) from cause

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
        array, tiles = self.chip.array, self.tiles
        blocks = layer.row_blocks
        cells = np.full((layer.groups * blocks, layer.row_block, layer.bitlines), -1, np.int64)
        for number in tiles.of_layer(layer.index).tolist():
            tile, place = tiles.tile(number), tiles.place(number)
            wordlines, bitlines = self.lines(number)
            block = tile.group * blocks + tile.row // layer.row_block
            cells[block, : tile.rows, tile.col : tile.col + tile.cols] = (
                place.array * array.rows + wordlines[:, None]
            ) * array.cols + bitlines
        return cells

    @property
    def moves_lines(self) -> bool:
        """Whether there are tiles whose lines do not follow each other."""
        return "lines" in self.tensors

    @property
    def line_offsets(self) -> Tensor:
        """(tiles,) where the wordlines of each begin in the tensor ``lines``, −1: nowhere."""
        return self._tensor("line_offsets")

    def lines(self, number: int) -> tuple[Tensor, Tensor]:
        """Wordlines and bitlines of a tile."""
        tile, place = self.tiles.tile(number), self.tiles.place(number)
        start = int(self.line_offsets[number]) if self.moves_lines else -1
        if start < 0:
            return place.row + np.arange(tile.rows), place.col + np.arange(tile.cols)
        lines = self._tensor("lines")[start : start + tile.rows + tile.cols]
        return lines[: tile.rows], lines[tile.rows :]

    def _tensor(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise ImageError(f"has no tensor {name}", "the image", NEWER)
        return self.tensors[name]
