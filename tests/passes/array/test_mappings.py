"""Which layer gets which mapping."""

from __future__ import annotations

import pytest

from pimc.chip.design import Chip, LayerMapping
from pimc.errors import ChipError, UsageError
from pimc.passes.array.mappings import mappings_of

LAYERS: dict[str, list[tuple[str, ...]]] = {
    "conv1": [("conv1", "c1.weight", "relu1")],
    "fc": [("fc", "out"), ("fc", "again")],
}
PAIRS = LayerMapping("differential")


@pytest.mark.parametrize("glob", ["conv1", "conv?", "c1.*", "relu1"])
def test_a_layer_is_named_as_for_digital(glob: str) -> None:
    assert mappings_of(LAYERS, {glob: "differential"}, None) == {"conv1": PAIRS, "fc": None}


def test_any_use_of_a_layer_names_it() -> None:
    assert mappings_of(LAYERS, {"again": "differential"}, None)["fc"] == PAIRS


def test_of_several_globs_the_last_counts() -> None:
    asked = {"*": "sliced:3", "fc": "offset"}
    three = LayerMapping("sliced", slices=3)
    assert mappings_of(LAYERS, asked, None) == {"conv1": three, "fc": LayerMapping("offset")}
    turned = dict(reversed(asked.items()))
    assert mappings_of(LAYERS, turned, None) == {"conv1": three, "fc": three}


def test_what_is_of_no_layer_is_refused() -> None:
    with pytest.raises(UsageError, match=r"mapping conv2=offset: no layer .*mean conv1"):
        mappings_of(LAYERS, {"conv2": "offset"}, None)


def test_the_chip_is_asked() -> None:
    chip = Chip.default().with_(**{"mapping.slices": 3, "mapping.slice_ratio": 4})
    found = mappings_of(LAYERS, {"fc": "sliced"}, chip)
    assert found["fc"] == LayerMapping("sliced", slices=3, slice_ratio=4)
    with pytest.raises(ChipError, match=r"layer fc, mapping\.slices"):
        mappings_of(LAYERS, {"fc": "sliced:8"}, chip)
    # What another glob takes back is not asked about.
    mappings_of(LAYERS, {"*": "sliced:8:16", "c*": "offset", "fc": "offset"}, chip)
