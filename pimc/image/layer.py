"""One layer of a chip image: its entry in the manifest, its tensors, and its geometry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import by_weight
from pimc.errors import ImageError
from pimc.files.schema import Range, by_field, by_name, missing, require
from pimc.files.tensor_file import Tensor
from pimc.image.format.sections import NEWER, LayerEntry, entry_fields
from pimc.image.format.tensors import LAYER_TENSORS, LayerTensors, layer_tensor

__all__ = ["ImageLayer", "LayerRecord", "read_layer"]

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class LayerRecord(LayerTensors[T_co], LayerEntry):
    """All of a layer: what its entry says, and its tensors.

    Attributes:
        index: position in the image, also in the ``tiles`` tensor.
    """

    index: int = field(kw_only=True)

    @property
    def layout(self) -> str:
        """Where the cells of a weight lie (:mod:`pimc.chip.codebook`)."""
        return self.mapping.pair

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
        if self.layout != "arrays":
            return -(-self.bitlines // self.col_block)
        return self.planes * -(-self.cols // self.col_block)

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of the layer's tensors by the names of :class:`LayerTensors`."""
        return {
            "groups": self.groups,
            "rows": self.rows,
            "cols": self.cols,
            "physical rows": self.wordlines,
            "physical columns": self.bitlines,
            "column blocks": self.col_blocks,
        }

    def tensors(self) -> dict[str, T_co]:
        """The layer's tensors by their names in the file."""
        return by_name(self, partial(layer_tensor, self.index))

    def require_tensors(self, ranges: Mapping[str, Range] | None = None) -> None:
        """Make sure that the tensors are of the types and shapes that the entry asks for.

        Args:
            ranges: where given, values must lie in the ranges that the format says; those of
                :func:`~pimc.image.format.tensors.image_ranges`.

        Raises:
            ImageError: one is not.
        """
        contents = {name: getattr(self, name) for name in LAYER_TENSORS}
        where, named = f"layer {self.index} of the manifest", partial(layer_tensor, self.index)
        require(
            LAYER_TENSORS, contents, self.sizes, ImageError, where,
            ranges=ranges, named=named, hint=NEWER,
        )  # fmt: skip


@dataclass(frozen=True)
class ImageLayer(LayerRecord[Tensor]):
    """One layer of an image; vectors over columns are (groups * cols,).

    Attributes:
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
        drift_gain, drift_pedestal, drift_offset: (ages, groups * cols) what makes up for drift,
            at the ages of the image's note; or None (:mod:`pimc.image.drift`).
        residual_index, residual_value: (n,) weights that the digital side adds to those of the
            cells, before the gain, by their place in (groups, rows, cols), increasing; or None.
    """

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


def read_layer(where: str, index: int, entry: object, tensors: Mapping[str, Tensor]) -> ImageLayer:
    """The layer of a manifest's entry; keys that are not known are ignored.

    Args:
        where: what the entry is called in messages.

    Raises:
        ImageError: a key or tensor is missing or malformed.
    """
    fields = entry_fields(entry, where)
    found: dict[str, Any] = by_field(LAYER_TENSORS, tensors, partial(layer_tensor, index))
    _check_residual(found["residual_index"], found["residual_value"], fields, where)
    absent = missing(LAYER_TENSORS, found)
    if absent:
        raise ImageError(f"has no tensor {', '.join(absent)}", where, NEWER)
    return ImageLayer(index=index, **fields, **found)


def _check_residual(
    index: Tensor | None, value: Tensor | None, fields: Mapping[str, Any], where: str
) -> None:
    if index is None and value is None:
        return
    if index is None or value is None or index.ndim != 1 or index.shape != value.shape:
        raise ImageError("residual_index and residual_value do not belong together", where, NEWER)
    size = fields["groups"] * fields["rows"] * fields["cols"]
    bounds = np.concatenate([[-1], index.astype(np.int64), [size]])
    if (np.diff(bounds) <= 0).any():
        raise ImageError(
            f"residual_index must increase from 0 to below {size}, the number of weights",
            where,
            NEWER,
        )
