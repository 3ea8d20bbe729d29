"""What changes from one image to the next: cells to rewrite, and the digital part."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.errors import ImageError
from pimc.files.strict import described
from pimc.files.writing.atomic import replacing
from pimc.image.format.sections import NOTES, LayerEntry
from pimc.image.format.tensors import LAYER_TENSORS
from pimc.image.image import Image, ImageLayer

__all__ = ["Changes", "alike", "changes"]

#: Correlation of levels from which on they may be of one network; those of two have none.
_ALIKE = 0.5

#: What the digital side and the converters take from a layer. The teacher does not run.
_FIELDS = (
    *(name for name, spec in LAYER_TENSORS.items() if spec.runs),
    *(item.name for item, _ in described(LayerEntry) if item.name not in NOTES),
)


@dataclass(frozen=True, eq=False)
class Changes:
    """The difference of two images.

    Attributes:
        array, row, col: where a cell changes.
        before, after: its levels; −1 where only the other image uses the cell.
        digital: layer name → what of it changes beside the levels: fields, the ``cells`` its
            weights lie in, and the ``schedule`` of its tiles.
        graph: the digital part of the network itself differs.
    """

    array: npt.NDArray[np.int64] = field(repr=False)
    row: npt.NDArray[np.int64] = field(repr=False)
    col: npt.NDArray[np.int64] = field(repr=False)
    before: npt.NDArray[np.int64] = field(repr=False)
    after: npt.NDArray[np.int64] = field(repr=False)
    digital: dict[str, list[str]]
    graph: bool

    @property
    def rewrites(self) -> npt.NDArray[np.bool_]:
        """Which of the changed cells must be written."""
        return self.after >= 0

    @property
    def any(self) -> bool:
        """Whether the images differ in anything that runs."""
        return bool(len(self.array)) or bool(self.digital) or self.graph

    def save_csv(self, path: str | Path) -> None:
        """Write ``array,row,col,before,after``, one line a cell, whole or not at all.

        Raises:
            UsageError: the file cannot be written.
        """
        table = np.stack([self.array, self.row, self.col, self.before, self.after], axis=1)
        with replacing(path) as stream:
            stream.write(b"array,row,col,before,after\n")
            np.savetxt(stream, table, fmt="%d", delimiter=",")


def changes(before: Image, after: Image) -> Changes:
    """What must change on a chip that holds ``before`` so that it holds ``after``.

    Raises:
        ImageError: the images are for different chips, or of different networks.
    """
    _check_same_chip(before, after)
    arrays = max(before.arrays, after.arrays)
    old, new = _levels(before, arrays), _levels(after, arrays)
    if not _same_network(before, after, old, new):
        one, two = (
            f"{image.model.name} ({len(image.layers)} layers, {image.model.sha256[:12]})"
            for image in (before, after)
        )
        raise ImageError(
            f"the images are of different networks: {one} and {two}",
            hint="compare images of one network; `pimc info` tells what each was made from",
        )
    array, row, col = np.nonzero(old != new)
    return Changes(
        array,
        row,
        col,
        old[array, row, col],
        new[array, row, col],
        _digital(before, after),
        not np.array_equal(before.graph_bytes, after.graph_bytes),
    )


def alike(one: npt.NDArray[np.integer], two: npt.NDArray[np.integer]) -> bool:
    """Whether two levels each of some cells may be of one network: an image and a later one.

    Recovery, other data and a little more training change few levels, or many by little. Levels of
    another network, or of one that is laid out otherwise, know nothing of them.
    """
    if not one.size or (one == two).all():
        return True
    if (one == one[0]).all() or (two == two[0]).all():
        return bool((one == two).mean() >= _ALIKE)
    return bool(np.corrcoef(one, two)[0, 1] >= _ALIKE)


def _same_network(
    before: Image, after: Image, old: npt.NDArray[np.int64], new: npt.NDArray[np.int64]
) -> bool:
    """Whether two images are of one network: of one model, or of one and what was trained of it."""
    if before.model.sha256 == after.model.sha256:
        return True
    one, two = (
        [(layer.op, layer.groups, layer.rows, layer.cols) for layer in image.layers]
        for image in (before, after)
    )
    both = (old >= 0) & (new >= 0)
    return one == two and alike(old[both], new[both])


def _levels(image: Image, arrays: int) -> npt.NDArray[np.int64]:
    levels = np.where(image.used, image.levels.astype(np.int64), -1)
    return np.pad(levels, ((0, arrays - image.arrays), (0, 0), (0, 0)), constant_values=-1)


def _check_same_chip(before: Image, after: Image) -> None:
    if before.chip.fingerprint == after.chip.fingerprint:
        return
    one, two = (
        f"{chip.name} {chip.array.rows}x{chip.array.cols}, {chip.cell.levels} levels, "
        f"{chip.mapping.kind}"
        for chip in (before.chip, after.chip)
    )
    raise ImageError(
        "the images are for different chips: " + (f"{one} and {two}" if one != two else one),
        hint="compare images compiled for the same chip file and options",
    )


def _digital(before: Image, after: Image) -> dict[str, list[str]]:
    old = {layer.name: layer for layer in before.layers}
    new = {layer.name: layer for layer in after.layers}
    found = {name: ["removed"] for name in old if name not in new}
    found |= {name: ["added"] for name in new if name not in old}
    for name in old.keys() & new.keys():
        one, two = old[name], new[name]
        fields = [key for key in _FIELDS if not _same(getattr(one, key), getattr(two, key))]
        if not _same(before.cells(one), after.cells(two)):
            fields.append("cells")
        if not _same(_reads(before, one), _reads(after, two)):
            fields.append("schedule")
        if fields:
            found[name] = fields
    return {name: found[name] for name in sorted(found)}


def _reads(image: Image, layer: ImageLayer) -> npt.NDArray[np.int64]:
    """Step, from the layer's first on, and extent of its tiles in the order of reading."""
    read = image.tiles.chosen(image.schedule.tile)
    own = read.layer == layer.index
    steps, read = image.schedule.step[own].astype(np.int64), read.chosen(own)
    extent = (read.group, read.row, read.rows, read.col, read.cols)
    return np.column_stack([steps - steps.min(initial=0), *extent])


def _same(one: Any, two: Any) -> bool:
    if one is None or two is None:
        return one is two
    return np.array_equal(one, two)
