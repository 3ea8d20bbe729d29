"""The check of a whole image: what every load asks before anything of it is used."""

from __future__ import annotations

from pimc.errors import ImageError
from pimc.files.manifest import read_object
from pimc.files.schema import by_field, require
from pimc.image.content import ImageContent
from pimc.image.format.sections import NEWER, Manifest
from pimc.image.format.tensors import IMAGE_TENSORS, image_ranges, image_sizes
from pimc.image.rules.graph import graph_is_the_networks
from pimc.image.rules.layers import (
    blocks_fit_arrays,
    drift_is_of_the_ages_stated,
    layers_have_names_of_their_own,
    phases_have_arrays,
    planes_are_those_of_the_mapping,
    tensors_are_of_layers,
    windows_fit_rows,
)
from pimc.image.rules.levels import levels_are_those_of_the_chip
from pimc.image.rules.rule import Rule
from pimc.image.rules.tiles import (
    lines_lie_in_arrays,
    tiles_are_of_layers,
    tiles_are_read_once,
    tiles_cover_layers,
    tiles_do_not_overlap,
    tiles_lie_in_arrays,
)

__all__ = ["RULES", "require_sound"]

#: What must hold, in this order; those behind rely on those before.
RULES: tuple[Rule, ...] = (
    layers_have_names_of_their_own,
    planes_are_those_of_the_mapping,
    blocks_fit_arrays,
    windows_fit_rows,
    tensors_are_of_layers,
    drift_is_of_the_ages_stated,
    phases_have_arrays,
    tiles_are_of_layers,
    tiles_cover_layers,
    tiles_lie_in_arrays,
    lines_lie_in_arrays,
    tiles_do_not_overlap,
    tiles_are_read_once,
    levels_are_those_of_the_chip,
    graph_is_the_networks,
)


def require_sound(image: ImageContent) -> None:
    """Make sure that an image is what its format says; see ``docs/image-format.md``.

    Keys of the manifest, then types, shapes and values of tensors, then what must hold between
    them. Nothing is made of the sizes that a manifest states before tensors were found to have
    them.

    Raises:
        ImageError: it is not; the key or tensor is named.
    """
    read_object(Manifest, image.manifest, "manifest", ImageError, NEWER)
    contents, sizes = by_field(IMAGE_TENSORS, image.tensors), image_sizes(image.chip)
    require(IMAGE_TENSORS, contents, sizes, ImageError, "the image", ranges={}, hint=NEWER)
    for layer in image.layers:
        layer.require_tensors(image_ranges(image.codebook_of(layer)))
    for rule in RULES:
        for problem in rule(image):
            raise ImageError(problem, "the image", NEWER)
