"""What a layer costs in what is to be saved: cells, arrays, energy or latency.

Costs of layers are taken to add up. Cells, energy and latency do (latency as far as packing leaves
each layer its read steps); arrays count by the part of an array that a layer's tiles fill, of
``single`` packing whole ones. What is compiled is then counted as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from pimc.chip.design import Chip
from pimc.errors import UsageError
from pimc.image import estimate
from pimc.image.cost import layer_costs, positions
from pimc.image.image import Image
from pimc.passes.layout.pack import Packing
from pimc.plan.records import Layer

__all__ = ["DIGITAL", "GOALS", "UNITS", "Minimize", "Price"]

#: What is to be as little as can be.
Minimize: TypeAlias = Literal["cells", "arrays", "energy", "latency"]
GOALS: tuple[Minimize, ...] = get_args(Minimize)
#: Units of the costs.
UNITS: Mapping[Minimize, str] = {
    "cells": "cells", "arrays": "arrays", "energy": "pJ", "latency": "ns",
}  # fmt: skip
#: What the digital side pays where nobody says otherwise. A weight takes a cell for each of the
#: eight bits that it has in a memory; a product and sum in float32 takes 4.6 pJ in 45 nm
#: (M. Horowitz 2014, 10.1109/ISSCC.2014.6757323); 256 of them are done in a nanosecond.
DIGITAL: Mapping[Minimize, float] = {
    "cells": 8.0, "arrays": 8.0, "energy": 4.6, "latency": 1 / 256,
}  # fmt: skip


@dataclass(frozen=True)
class Price:
    """What is counted, and what the digital side pays.

    Attributes:
        digital: cells that a digital weight counts as (cells, arrays), or pJ or ns of one product
            and sum (energy, latency); that of :data:`DIGITAL` if None.
    """

    minimize: Minimize = "cells"
    digital: float | None = None

    @property
    def of_digital(self) -> float:
        """What is paid for a digital weight, or for a product and sum."""
        return DIGITAL[self.minimize] if self.digital is None else self.digital

    def layers(self, image: Image, packing: Packing = "dense") -> list[float]:
        """What each layer of an image costs.

        Raises:
            UsageError: the graph does not tell how many vectors a layer gets, which energy and
                latency depend on.
        """
        if self.minimize == "cells":
            return [float(e.groups * e.rows * e.cols * e.planes) for e in image.layers]
        if self.minimize == "arrays":
            return _arrays(image, packing)
        costs = layer_costs(image)
        found = []
        for layer, cost in zip(image.layers, costs, strict=True):
            if cost is None:
                raise _not_told(layer.name)
            found.append(cost.energy_pj if self.minimize == "energy" else cost.latency_ns)
        return found

    def of_image(self, image: Image) -> float:
        """What the arrays of an image cost, as it is laid out."""
        if self.minimize == "cells":
            return float(estimate.cells_used(image))
        return float(image.arrays) if self.minimize == "arrays" else sum(self.layers(image))

    def digitally(self, layer: Layer, vectors: int | None, chip: Chip) -> float:
        """What a layer costs that stays off the array.

        Args:
            vectors: input vectors a sample, if they are known.

        Raises:
            UsageError: as of :meth:`layers`.
        """
        weights = layer.groups * layer.rows * layer.cols
        if self.minimize == "cells":
            return weights * self.of_digital
        if self.minimize == "arrays":
            return weights * self.of_digital / (chip.array.rows * chip.array.cols)
        if vectors is None:
            raise _not_told(layer.name)
        return weights * vectors * self.of_digital

    def all_digitally(self, layers: Sequence[Layer], image: Image, chip: Chip) -> list[float]:
        """What each of the layers of an image would cost off the array."""
        places = positions(image) if self.minimize in ("energy", "latency") else {}
        return [self.digitally(layer, places.get(layer.name), chip) for layer in layers]


def _arrays(image: Image, packing: Packing) -> list[float]:
    tiles, chip = image.tiles, image.chip
    share = tiles.rows.astype(np.float64) * tiles.cols / (chip.array.rows * chip.array.cols)
    weight = np.ones_like(share) if packing == "single" else share
    return [float(v) for v in np.bincount(tiles.layer, weight, len(image.layers))]


def _not_told(name: str) -> UsageError:
    return UsageError(
        "the network does not tell how many vectors a layer gets a sample",
        where=f"layer {name}",
        hint="minimize cells or arrays, or export the network with fixed sizes",
    )
