"""One description of all tensors: the files are as it says, and so is the specification."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.errors import ImageError
from pimc.files import container
from pimc.files.schema import by_field, misfits, outside, tensor_rows
from pimc.image.format.migrations import FORMAT, VERSION
from pimc.image.format.notes import CalibrationNote, DriftNote, RecoveryNote
from pimc.image.format.sections import MANIFEST, LayerEntry, key_rows
from pimc.image.format.tensors import (
    IMAGE_TENSORS,
    LAYER_TENSORS,
    image_ranges,
    image_sizes,
    layer_tensor,
)
from pimc.image.image import Image

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "image-format.md").read_text(encoding="utf-8")
SAMPLES = sorted((ROOT / "tests" / "released").glob("*/*.pimc"))
#: The file's names of all tensors that the first layer of an image may have, and of the others.
NAMES = [*IMAGE_TENSORS, *(layer_tensor(0, name) for name in LAYER_TENSORS)]


def rows(first: str) -> list[str]:
    """The rows of the table in the specification that begins with a name."""
    after = PAGE[PAGE.index(f"\n| `{first}` |") + 1 :]
    return after[: after.index("\n\n")].splitlines()


# --- the specification -----------------------------------------------------------------------


def test_the_specification_lists_all_tensors() -> None:
    of_layers = tensor_rows(LAYER_TENSORS, partial(layer_tensor, "NNNN"))
    assert rows("graph") == [*tensor_rows(IMAGE_TENSORS), *of_layers]


def test_the_specification_lists_all_keys() -> None:
    assert rows("format") == [f"| `{key}` | {doc} |" for key, doc in MANIFEST.items()]
    assert rows("name") == [*key_rows(LayerEntry)]
    assert rows("layout") == [*key_rows(CalibrationNote)]
    assert rows("parent") == [*key_rows(RecoveryNote)]
    assert rows("ages_s") == [*key_rows(DriftNote)]


def test_the_specification_names_the_version() -> None:
    assert PAGE.startswith(f"# The image format, version {VERSION}\n")


# --- files -----------------------------------------------------------------------------------


def described(image: Image) -> Iterator[tuple[Any, dict[str, Any], dict[str, int]]]:
    """Descriptions, tensors and sizes of an image and of each of its layers."""
    yield IMAGE_TENSORS, by_field(IMAGE_TENSORS, image.tensors), image_sizes(image.chip)
    for layer in image.layers:
        found = {name: getattr(layer, name) for name in LAYER_TENSORS}
        yield LAYER_TENSORS, found, layer.sizes


@pytest.mark.parametrize("path", SAMPLES, ids=[path.name for path in SAMPLES])
def test_released_images_are_as_described(path: Path) -> None:
    image = Image.load(path)
    ranges = image_ranges(image.codebook)
    for specs, contents, sizes in described(image):
        assert list(misfits(specs, contents, sizes)) == []
        for name, spec in specs.items():
            if contents[name] is not None:
                assert outside(spec, contents[name], ranges) is None, name


def test_all_that_released_images_hold_is_described() -> None:
    found = {name for path in SAMPLES for name in Image.load(path).tensors}
    assert {re.sub(r"\d{4}", "0000", name) for name in found} <= set(NAMES)


@pytest.fixture(scope="module")
def whole(tiny_image: Image) -> Image:
    """An image with every tensor that there is; those that it had not change nothing."""
    tensors = dict(tiny_image.tensors)
    first = tiny_image.layers[0]
    wanted = [(name, spec, first) for name, spec in IMAGE_TENSORS.items()]
    for layer in tiny_image.layers:  # drift is followed in all layers or in none
        wanted += [
            (layer_tensor(layer.index, name), spec, layer)
            for name, spec in LAYER_TENSORS.items()
            if layer is first or name.startswith("drift_")
        ]
    for name, spec, layer in wanted:
        sizes = layer.sizes | {
            "tiles": len(tiny_image.tiles), "groups · cols": len(layer.gain), "ages": 2,
        }  # fmt: skip
        shape = [dim if isinstance(dim, int) else sizes.get(dim, 1) for dim in spec.shape]
        nothing = {"line_offsets": -1}.get(name, int(spec.values == "positive"))
        tensors.setdefault(name, np.full(shape, nothing, spec.dtypes[0]))
    ages = {"ages_s": [1.0, 2.0], "calibrated": True}
    return Image.build({**tiny_image.manifest, "drift": ages}, tensors)


def test_an_image_with_every_tensor_is_read(whole: Image, tmp_path: Path) -> None:
    assert set(NAMES) <= set(Image.load(saved(whole, {**whole.tensors}, tmp_path / "x")).tensors)


def saved(image: Image, tensors: dict[str, Any], path: Path) -> Path:
    """A sound file with these tensors, as a user's own tool would seal it."""
    container.save(path, *container.seal(FORMAT, VERSION, image.manifest, tensors))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_another_type_or_shape_is_refused(name: str, whole: Image, tmp_path: Path) -> None:
    value = whole.tensors[name]
    for wrong in (value.astype(np.float64), value[None]):
        path = saved(whole, {**whole.tensors, name: wrong}, tmp_path / "x.pimc")
        with pytest.raises(ImageError, match=r"x\.pimc, .*(belong|expected|must)") as caught:
            Image.load(path)
        assert caught.value.hint


@pytest.mark.parametrize("name", NAMES)
def test_only_optional_tensors_may_be_left_out(name: str, whole: Image, tmp_path: Path) -> None:
    specs = {**IMAGE_TENSORS, **{layer_tensor(0, n): s for n, s in LAYER_TENSORS.items()}}
    without = {key: value for key, value in whole.tensors.items() if key != name}
    path = saved(whole, without, tmp_path / "x.pimc")
    if specs[name].optional and not specs[name].needs:
        assert name not in Image.load(path).tensors
        return
    with pytest.raises(ImageError, match=f"no tensor {name.split('.')[-1]}|do not belong"):
        Image.load(path)


def test_tensors_that_are_not_known_are_ignored(tiny_image: Image, tmp_path: Path) -> None:
    more = {**tiny_image.tensors, "new": np.zeros(3), "layer.0000.new": np.zeros(3)}
    image = Image.load(saved(tiny_image, more, tmp_path / "x.pimc"))
    np.testing.assert_array_equal(image.levels, tiny_image.levels)
