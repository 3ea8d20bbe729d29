"""Rules of layers: their keys agree with each other and with the chip."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from pimc.image.content import ImageContent
from pimc.image.format.tensors import LAYER_TENSORS

__all__ = [
    "blocks_fit_arrays",
    "drift_is_of_the_ages_stated",
    "layers_have_names_of_their_own",
    "phases_have_arrays",
    "planes_are_those_of_the_mapping",
    "tensors_are_of_layers",
    "windows_fit_rows",
]

_OF_LAYER = re.compile(rf"layer\.(\d{{4,}})\.({'|'.join(LAYER_TENSORS)})")


def layers_have_names_of_their_own(image: ImageContent) -> Iterator[str]:
    """No two layers have the same name."""
    seen: set[str] = set()
    for layer in image.layers:
        if layer.name in seen:
            yield f"layers: two are called {layer.name!r}"
        seen.add(layer.name)


def planes_are_those_of_the_mapping(image: ImageContent) -> Iterator[str]:
    """A weight of every layer takes as many cells as its mapping says."""
    for layer in image.layers:
        planes = image.codebook_of(layer).planes
        if layer.planes != planes:
            yield f"planes: {layer.planes} of layer {layer.index}, its mapping has {planes}"


def blocks_fit_arrays(image: ImageContent) -> Iterator[str]:
    """No block is higher than an array."""
    rows = image.chip.array.rows
    for layer in image.layers:
        if layer.row_block > rows:
            yield f"row_block: {layer.row_block} of layer {layer.index}, an array has {rows} rows"


def windows_fit_rows(image: ImageContent) -> Iterator[str]:
    """The rows of a convolution are whole channels."""
    for layer in image.layers:
        if layer.window is not None and layer.rows % math.prod(layer.window.kernel):
            yield (
                f"kernel: {list(layer.window.kernel)} does not divide the {layer.rows} rows "
                f"of layer {layer.index}"
            )


def tensors_are_of_layers(image: ImageContent) -> Iterator[str]:
    """Tensors of layers are of layers that there are."""
    count = len(image.layers)
    for name in image.tensors:
        found = _OF_LAYER.fullmatch(name)
        if found is not None and int(found[1]) >= count:
            yield f"tensor {name}: the manifest has {count} layers"


def drift_is_of_the_ages_stated(image: ImageContent) -> Iterator[str]:
    """All layers follow drift at the ages that the manifest states, or none does."""
    note = image.drift
    ages = 0 if note is None else len(note.ages_s)
    for layer in image.layers:
        found = 0 if layer.drift_gain is None else len(layer.drift_gain)
        if found != ages:
            yield f"drift: {found} ages of layer {layer.index}, the manifest states {ages}"


def phases_have_arrays(image: ImageContent) -> Iterator[str]:
    """Every phase has arrays."""
    if image.phases[-1] >= max(image.arrays, 1):
        yield f"phases: one begins with array {image.phases[-1]}, there are {image.arrays}"
