"""What each mapping does to each layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pimc import api
from pimc.api import Options
from pimc.chip.design import Chip, LayerMapping
from pimc.data.dataset import Dataset
from pimc.errors import ChipError
from pimc.plan.records import Plan
from pimc.studies.spending import damage
from pimc.studies.spending.damage import State, offers
from pimc.tasks.embedding import Embedding

CHIP = Chip.default().with_array(16, 8).with_levels(4)


@pytest.fixture(scope="module")
def plan(tiny_model) -> Plan:
    return api.plan(tiny_model(), CHIP, stop_after="partition")


@pytest.fixture(scope="module")
def data(tiny_inputs) -> Dataset:
    return Dataset.of(tiny_inputs)


def test_each_layer_has_an_offer_of_each_mapping(plan, data) -> None:
    found = offers(plan, CHIP, data, Options(), kinds=("offset", "sliced:2", "differential"))
    assert len(found) == len(plan.layers) == 3
    for layer, offered in zip(plan.layers, found, strict=True):
        assert [o.mapping for o in offered] == ["offset", "sliced:2", "differential"]
        assert [o.cells for o in offered] == [n * layer.weight.size for n in (1, 2, 2)]
        one, two, _ = (o.damage for o in offered)
        assert 0 < two < one / 2


def test_a_layer_with_a_mapping_of_its_own_keeps_it(plan, data) -> None:
    own = LayerMapping("sliced", slices=3)
    first, *others = plan.layers
    asked = replace(plan, layers=(replace(first, mapping=own), *others))
    found = offers(asked, CHIP, data, Options(), kinds=("offset", "differential"))
    assert [o.mapping for o in found[0]] == ["sliced:3"]
    assert [[o.mapping for o in offered] for offered in found[1:]] == [
        ["offset", "differential"]
    ] * 2


def test_damage_of_a_layer_does_not_depend_on_others(plan, data) -> None:
    rough, fine = (
        replace(plan, layers=(replace(plan.layers[0], mapping=mapping), *plan.layers[1:]))
        for mapping in (LayerMapping("offset"), LayerMapping("sliced", slices=3))
    )
    one, two = (offers(p, CHIP, data, Options(), kinds=("differential",)) for p in (rough, fine))
    assert one[1:] == two[1:]
    assert two[0][0].damage < one[0][0].damage


def test_on_dies_write_errors_count(plan, data) -> None:
    chip = CHIP.with_sigma(0.1)
    perfect, written = (
        offers(plan, chip, data, Options(write_noise=0.0), kinds=("offset",), state=state)
        for state in (State(), State((1, 2)))
    )
    for one, two in zip(perfect, written, strict=True):
        assert two[0].damage > one[0].damage


def test_mappings_that_the_chip_cannot_hold_are_left_out(plan, data) -> None:
    low, high = CHIP.cell.g_min_us, CHIP.cell.g_max_us
    uneven = CHIP.with_(
        **{"cell.levels": 3, "cell.spacing": "table", "cell.g_levels_us": [low, low + 1.0, high]}
    )
    found = offers(plan, uneven, data, Options(), kinds=("sliced:2", "offset"))
    assert {o.mapping for offered in found for o in offered} == {"offset"}
    with pytest.raises(ChipError, match="evenly spaced"):
        offers(plan, uneven, data, Options(), kinds=("sliced:2",))


def test_damage_is_the_distance_of_outputs(plan, data) -> None:
    """Of values the squared error over the variance, with one layer on the array."""
    (found, *_) = offers(plan, CHIP, data, Options(), kinds=("offset",), task=Embedding())
    (other, *_) = offers(plan, CHIP, data, Options(), kinds=("offset",))
    assert found[0].damage != other[0].damage
    assert np.isfinite([found[0].damage, other[0].damage]).all()
    assert len(data) == damage.SAMPLES
