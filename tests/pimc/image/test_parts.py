"""What an image is written from is held to the format before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pimc.errors import ImageError
from pimc.files.schema import by_field
from pimc.files.tensor_file import Content, Deferred
from pimc.image.format.notes import RecoveryNote
from pimc.image.format.tensors import IMAGE_TENSORS, ImageTensors
from pimc.image.image import Image
from pimc.image.layer import LayerRecord
from pimc.image.parts import ImageParts

NOTE = RecoveryNote("ab" * 32, "sim:7", "selective", 12, 2)


@pytest.fixture
def parts(tiny_image: Image) -> ImageParts:
    """The parts of the tiny image."""
    tensors: dict[str, Any] = by_field(IMAGE_TENSORS, tiny_image.tensors)
    return ImageParts(
        chip=tiny_image.chip,
        model=tiny_image.model,
        options=tiny_image.options,
        layers=tiny_image.layers,
        provenance=tiny_image.manifest["provenance"],
        tensors=ImageTensors(**tensors),
        calibration=tiny_image.calibration,
    )


def test_the_parts_of_an_image_make_it_again(parts: ImageParts, tiny_image: Image) -> None:
    contents: dict[str, Any] = parts.contents()
    assert Image.build(parts.manifest(), contents).to_bytes() == tiny_image.to_bytes()
    more = replace(parts, phases=(0, 2), recovery=NOTE)
    image = Image.build(more.manifest(), contents)
    assert image.phases == (0, 2)
    assert image.recovery == NOTE


def test_parts_that_are_made_on_the_way(parts: ImageParts, tiny_image: Image, tmp_path) -> None:
    def deferred(value: Any) -> Deferred:
        return Deferred(value.dtype, value.shape, lambda: iter([value]))

    first, *others = tiny_image.layers
    fields: dict[str, Any] = vars(first) | {"teacher_weight": deferred(first.teacher_weight)}
    made: LayerRecord[Content] = LayerRecord(**fields)
    tensors = replace(parts.tensors, levels=deferred(tiny_image.packed_levels))
    late = replace(parts, layers=[made, *others], tensors=tensors)
    image = Image.written(tmp_path / "x.pimc", late.manifest(), late.contents())
    assert image.to_bytes() == tiny_image.to_bytes()


def test_what_the_format_does_not_hold_is_refused(parts: ImageParts) -> None:
    def never() -> Iterator[Any]:
        raise AssertionError

    narrow: Content = Deferred(np.dtype(np.uint8), (9, 1), never)
    with pytest.raises(ImageError, match="the image: tensor levels is uint8"):
        replace(parts, tensors=replace(parts.tensors, levels=narrow)).contents()
    wide = replace(parts.layers[1], bias=np.zeros(8))
    with pytest.raises(ImageError, match=r"layer 1 .*: tensor layer\.0001\.bias is float64"):
        replace(parts, layers=[parts.layers[0], wide]).contents()
