"""Dies whose truth is known, and what identification leaves of their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pimc.api import Options
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.estimate import prior
from pimc.passes.recover.know.codes import identify
from pimc.passes.recover.know.sums import identify_sums
from pimc.runtime.capture import CaptureOptions, capture
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session

#: Weights as near to the float network as rounding lets them be.
UNCLIPPED = Options(write_noise=0.0, equalize=False)
#: Mapping and pedestal; differential pairs lie on columns, rows or arrays.
VARIANTS = [
    (kind, pedestal)
    for kind in ("offset", "differential", "rows", "arrays", "sliced")
    for pedestal in ("reference", "digital")
]


def mapping_keys(variant: tuple[str, str]) -> dict[str, Any]:
    kind, pedestal = variant
    keys: dict[str, Any] = {"mapping.kind": kind, "mapping.pedestal": pedestal}
    if kind in ("rows", "arrays"):
        keys |= {"mapping.kind": "differential", "mapping.pair": kind}
    return keys


def chip_of(variant: tuple[str, str], **changes: Any) -> Chip:
    return Chip.default().with_array(64, 32).with_(**mapping_keys(variant), **changes)


def truth(image: Image, die: Die, layer: ImageLayer) -> np.ndarray:
    """What the columns see of each cell of a layer, µS."""
    cells = image.cells(layer)
    held = die.cells.g_us.reshape(-1)[cells].astype(np.float64)
    if image.chip.mapping.pedestal == "reference":
        held -= die.cells.reference_us.reshape(-1)[cells // image.chip.array.cols]
    return np.where(cells >= 0, held, 0.0)


@dataclass
class Errors:
    """Of many cells: before and after identification, µS, and after it in standard deviations."""

    raw: np.ndarray
    left: np.ndarray
    z: np.ndarray

    @property
    def share(self) -> float:
        """Part of the error energy that is left."""
        return float((self.left**2).sum() / (self.raw**2).sum())


def errors(image: Image, x: np.ndarray, options: CaptureOptions, seeds: range) -> Errors:
    """Over all layers of several dies."""
    parts: list[tuple[np.ndarray, ...]] = []
    for seed in seeds:
        die = Die.simulated(seed)
        session = Session(image, die=die, seed=seed)
        captured = capture(session, Dataset.of(x), options, outputs=False)
        for layer in image.layers:
            before = prior(image, layer)
            record = captured.layers[layer.index]
            after = (
                identify_sums(before, image, Session(image).layers[layer.name], record)
                if options.record == "sums"
                else identify(before, image, layer, record)
            )
            held = truth(image, die, layer)
            raw, left = held - before.mean_us, held - after.mean_us
            inside = before.present
            parts.append((raw[inside], left[inside], (left / np.sqrt(after.variance))[inside]))
    return Errors(*(np.concatenate(part) for part in zip(*parts, strict=True)))
