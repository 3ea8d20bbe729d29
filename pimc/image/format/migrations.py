"""Versions of the image format, and how files of the older ones are read.

A change that a reader of the version before would misread takes a new version: add 1 to
:data:`VERSION`, and to :data:`STEPS` the function that makes of an older image what it would be
today. ``docs/image-format.md`` says which changes need none, and ``tests/released/README.md`` how
the files of the version before stay under test.
"""

from __future__ import annotations

from collections.abc import Mapping

from pimc.chip.design import Chip
from pimc.chip.layer_mapping import own_mapping
from pimc.errors import ChipError
from pimc.files.container import Manifest, Tensor
from pimc.files.migrate import Step
from pimc.files.strict import plain_table

__all__ = ["FORMAT", "STEPS", "VERSION"]

FORMAT = "pimc-image"
VERSION = 2


def _mapping_of_every_layer(
    manifest: Manifest, tensors: dict[str, Tensor]
) -> tuple[Manifest, dict[str, Tensor]]:
    """Version 1 had one mapping for all layers, the chip's.

    Of manifests that no image has, what is wrong is found when their sections are read.
    """
    table, entries = manifest.get("chip"), manifest.get("layers")
    if not isinstance(table, Mapping) or not isinstance(entries, list):
        return manifest, tensors
    if not all(isinstance(entry, Mapping) for entry in entries):
        return manifest, tensors
    try:
        chip = Chip.from_dict(table)
    except ChipError as cause:
        raise ValueError(str(cause)) from cause
    mapping = plain_table(own_mapping(chip.mapping))
    layers = [{**entry, "mapping": mapping} for entry in entries]
    return manifest | {"layers": layers}, tensors


#: From each older version to the next: manifest and tensors → those of the next version.
STEPS: Mapping[int, Step] = {1: _mapping_of_every_layer}
