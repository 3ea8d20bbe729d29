"""What an image holds is read by meaning; what it does not hold is named."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.errors import ImageError
from pimc.image.image import Image


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("graph", lambda image: image.graph()),
        ("levels", lambda image: image.levels),
        ("tiles", lambda image: image.cells(image.layers[0])),
        ("schedule", lambda image: image.schedule),
    ],
)
def test_a_tensor_that_is_missing_is_named_where_it_is_needed(tiny_image, name, read) -> None:
    without = {key: value for key, value in tiny_image.tensors.items() if key != name}
    image = Image.build(tiny_image.manifest, without)
    with pytest.raises(ImageError, match=f"has no tensor {name}") as caught:
        read(image)
    assert caught.value.hint


def test_lines_follow_each_other_unless_tiles_were_moved(tiny_image) -> None:
    assert not tiny_image.moves_lines
    tile, place = tiny_image.tiles.tile(1), tiny_image.tiles.place(1)
    wordlines, bitlines = tiny_image.lines(1)
    assert wordlines.tolist() == list(range(place.row, place.row + tile.rows))
    assert bitlines.tolist() == list(range(place.col, place.col + tile.cols))
    lines = np.concatenate([wordlines[::-1], bitlines]).astype(np.int32)
    offsets = np.full(len(tiny_image.tiles), -1, np.int32)
    offsets[1] = 0
    more = {**tiny_image.tensors, "lines": lines, "line_offsets": offsets}
    moved = Image.build(tiny_image.manifest, more)
    assert moved.moves_lines
    assert moved.lines(1)[0].tolist() == wordlines[::-1].tolist()
    assert moved.lines(0)[0].tolist() == tiny_image.lines(0)[0].tolist()
    # The same cells, in another order of rows.
    assert moved.used.tolist() == tiny_image.used.tolist()


def test_the_identity_is_the_hash_of_the_manifest(tiny_image) -> None:
    assert tiny_image.sha256 == tiny_image.manifest["sha256"]
    assert Image(tiny_image.manifest, tiny_image.tensors, identity="ab").sha256 == "ab"
