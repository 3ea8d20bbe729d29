"""What each layer may be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pimc import api
from pimc.api import Options
from pimc.chip.design import Chip, LayerMapping
from pimc.data.dataset import Dataset
from pimc.errors import ChipError, UsageError
from pimc.plan.records import Plan
from pimc.studies.spending.cost import Price
from pimc.studies.spending.offers import Trials, offers
from pimc.tasks.embedding import Embedding

CHIP = Chip.default().with_array(16, 8).with_levels(4)


@pytest.fixture(scope="module")
def plan(tiny_model) -> Plan:
    return api.plan(tiny_model(), CHIP, stop_after="partition")


@pytest.fixture(scope="module")
def data(tiny_inputs) -> Dataset:
    return Dataset.of(tiny_inputs)


def test_each_layer_has_an_offer_of_each_mapping(plan, data) -> None:
    found = offers(plan, CHIP, data, Options(), Trials(("offset", "sliced:2", "differential")))
    assert len(found) == len(plan.layers) == 3
    for layer, offered in zip(plan.layers, found, strict=True):
        assert [o.mapping for o in offered] == ["offset", "sliced:2", "differential"]
        assert [o.cells for o in offered] == [n * layer.weight.size for n in (1, 2, 2)]
        one, two, _ = (o.reading for o in offered)
        assert 0 < two < one / 2


def test_a_layer_with_a_mapping_of_its_own_keeps_it(plan, data) -> None:
    own = LayerMapping("sliced", slices=3)
    first, *others = plan.layers
    asked = replace(plan, layers=(replace(first, mapping=own), *others))
    found = offers(asked, CHIP, data, Options(), Trials(("offset", "differential")))
    assert [o.mapping for o in found[0]] == ["sliced:3"]
    assert [[o.mapping for o in offered] for offered in found[1:]] == [
        ["offset", "differential"]
    ] * 2


def test_damage_of_a_layer_does_not_depend_on_others(plan, data) -> None:
    rough, fine = (
        replace(plan, layers=(replace(plan.layers[0], mapping=mapping), *plan.layers[1:]))
        for mapping in (LayerMapping("offset"), LayerMapping("sliced", slices=3))
    )
    one, two = (offers(p, CHIP, data, Options(), Trials(("differential",))) for p in (rough, fine))
    assert one[1:] == two[1:]
    assert two[0][0].reading < one[0][0].reading


def test_write_errors_count_as_far_as_they_are_left(plan, data) -> None:
    perfect, recovered, written = (
        offers(plan, CHIP, data, options, Trials(("offset",)))
        for options in (Options(write_noise=0.0), Options(), Options(purpose="as-programmed"))
    )
    for one, two, three in zip(perfect, recovered, written, strict=True):
        assert one[0].writing == 0.0
        assert 0 < two[0].writing < three[0].writing
        assert two[0].damage == two[0].reading + two[0].writing


def test_each_range_is_weighed_with_each_mapping(plan, data) -> None:
    chip = CHIP.with_(**{"adc.bits": 3})
    (first, *_) = offers(
        plan, chip, data, Options(), Trials(("offset", "sliced:2"), ("percentile:60",))
    )
    assert [(o.mapping, o.adc_range) for o in first] == [
        ("offset", None), ("offset", "percentile:60"),
        ("sliced:2", None), ("sliced:2", "percentile:60"),
    ]  # fmt: skip
    assert first[1].reading > first[0].reading
    assert first[0].cost == first[1].cost


def test_a_digital_layer_does_no_damage_and_has_its_price(plan, data) -> None:
    own = replace(plan.layers[0], mapping=LayerMapping("offset"))
    asked = replace(plan, layers=(own, *plan.layers[1:]))
    trials = Trials(("offset", "digital"), price=Price("cells", 5.0))
    first, *others = offers(asked, CHIP, data, Options(), trials)
    assert [o.mapping for o in first] == ["offset"], "what is asked for is kept"
    for layer, offered in zip(plan.layers[1:], others, strict=True):
        digital = offered[-1]
        assert (digital.mapping, digital.cells, digital.damage) == ("digital", 0, 0.0)
        assert digital.cost == 5 * layer.weight.size
    with pytest.raises(UsageError, match="nothing would be on the array"):
        offers(plan, CHIP, data, Options(), Trials(("digital",)))


def test_mappings_that_the_chip_cannot_hold_are_left_out(plan, data) -> None:
    low, high = CHIP.cell.g_min_us, CHIP.cell.g_max_us
    uneven = CHIP.with_(
        **{"cell.levels": 3, "cell.spacing": "table", "cell.g_levels_us": [low, low + 1.0, high]}
    )
    found = offers(plan, uneven, data, Options(), Trials(("sliced:2", "offset")))
    assert {o.mapping for offered in found for o in offered} == {"offset"}
    with pytest.raises(ChipError, match="evenly spaced"):
        offers(plan, uneven, data, Options(), Trials(("sliced:2",)))


def test_the_task_says_what_outputs_are_held_to(plan, data) -> None:
    (found, *_) = offers(plan, CHIP, data, Options(), Trials(("offset",)), task=Embedding())
    (other, *_) = offers(plan, CHIP, data, Options(), Trials(("offset",)))
    assert found[0].damage != other[0].damage
    assert np.isfinite([found[0].damage, other[0].damage]).all()


def test_layers_may_be_digital_where_cells_are_saved_and_none_are_copied() -> None:
    assert "digital" in Trials().settled(copied=False).kinds
    assert "digital" in Trials(price=Price("arrays")).settled(copied=False).kinds
    assert "digital" not in Trials().settled(copied=True).kinds
    assert "digital" not in Trials(price=Price("energy")).settled(copied=False).kinds
    asked = Trials(("offset", "digital"), price=Price("latency"))
    assert asked.settled(copied=False).kinds == ("offset", "digital")
    with pytest.raises(UsageError, match="copies are of layers on the array"):
        asked.settled(copied=True)
