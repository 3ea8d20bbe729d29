"""The fewest cells that keep a drop, against every combination there is."""

from __future__ import annotations

from itertools import product

import numpy as np
import onnxruntime as ort
import pytest

import pimc
from pimc.api import Options
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.errors import DataError, UsageError
from pimc.image.summary import summarize
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.studies.spending.choice import Choice, choose, halves
from pimc.studies.spending.cost import Price
from pimc.studies.spending.judge import State
from pimc.studies.spending.offers import Trials

CHIP = (
    Chip.default()
    .with_array(16, 8)
    .with_levels(3)
    .with_sigma(0.0)
    .with_(**{"read_noise.relative": 0.0})
)
KINDS = ("offset", "sliced:2", "sliced:3")
ALLOWED = 0.1


@pytest.fixture(scope="module")
def model(tiny_model) -> bytes:
    found: bytes = tiny_model().SerializeToString()
    return found


@pytest.fixture(scope="module")
def data(model) -> Dataset:
    """Samples with the float network's own classes."""
    x = np.random.default_rng(5).standard_normal((400, 2, 8, 8)).astype(np.float32)
    return Dataset.of(x, ort.InferenceSession(model).run(None, {"x": x})[0].argmax(axis=1))


def drop_of(model, data, mapping) -> float:
    """Measured without the code under test."""
    on, held = halves(data)
    image = pimc.compile(model, CHIP, calib=on, options=Options(mapping=mapping))
    found = Session(image, die=Die.ideal()).run(None, {"x": held.all()})[0]
    return 1.0 - float((found.argmax(axis=1) == held.y).mean())


@pytest.fixture(scope="module")
def found(model, data) -> Choice:
    return choose(model, CHIP, data, ALLOWED, trials=Trials(KINDS))


def test_no_combination_that_holds_has_much_fewer_cells(model, data, found) -> None:
    assert found.reached
    assert not found.checked[0].holds, "the fewest cells are too few, or there is nothing to see"
    own = dict(
        zip(found.weighed.layers, (o.mapping for o in found.chosen.point.offers), strict=True)
    )
    assert drop_of(model, data, own) == pytest.approx(found.chosen.drop)
    assert found.chosen.drop <= ALLOWED
    sizes = {
        name: offered[0].cells
        for name, offered in zip(found.weighed.layers, found.weighed.offers, strict=True)
    }
    best = min(
        sum(sizes[name] * (KINDS.index(kind) + 1) for name, kind in zip(sizes, kinds, strict=True))
        for kinds in product(KINDS, repeat=len(sizes))
        if drop_of(model, data, dict(zip(sizes, kinds, strict=True))) <= ALLOWED
    )
    assert best <= found.chosen.point.cells <= 1.1 * best


def test_the_image_says_how_to_compile_it_again(model, data, found) -> None:
    noted = found.image.options["mapping"]
    on, _ = halves(data)
    again = pimc.compile(model, CHIP, calib=on, options=Options(mapping=noted))
    assert again.to_bytes() == found.image.to_bytes()
    assert summarize(found.image)["cells_used"] == found.chosen.point.cells


def test_what_holds_with_the_fewest_cells_is_tried_alone(model, data) -> None:
    found = choose(model, CHIP, data, 1.0, trials=Trials(KINDS))
    assert [one.number for one in found.checked] == [0]
    assert found.chosen.point == found.points[0]
    assert all(found.why(number).startswith("the next, ") for number in range(3))


def test_what_cannot_be_reached_gives_the_best_and_what_limits_it(model, data) -> None:
    found = choose(model, CHIP, data, 0.0, trials=Trials(("offset",)))
    assert not found.reached
    assert found.chosen.drop > 0
    assert found.limit.startswith("layer ")
    coarse = CHIP.with_levels(16).with_(**{"adc.bits": 2})
    assert choose(model, coarse, data, 0.05, trials=Trials(("sliced:2",))).limit.startswith(
        "the ADCs"
    )


def test_without_labels_agreement_counts(model, data, found) -> None:
    unlabelled = choose(model, CHIP, Dataset.of(data.x), ALLOWED, trials=Trials(KINDS))
    assert unlabelled.agreement
    assert unlabelled.in_float == 1.0
    # The labels above are the float network's, so that both ask the same.
    assert unlabelled.chosen == found.chosen
    assert not found.agreement


def test_mappings_that_are_asked_for_are_kept(model, data) -> None:
    options = Options(mapping={"w1": "differential", "w3": "digital"})
    found = choose(model, CHIP, data, 1.0, trials=Trials(KINDS), options=options)
    assert found.weighed.layers == ["w1", "w2"]
    assert [o.mapping for o in found.chosen.point.offers] == ["differential", "offset"]
    assert found.image.options["mapping"] == {
        "w3": "digital", "w1": "differential", "w2": "offset",
    }  # fmt: skip


def test_on_dies_the_drop_is_that_of_dies(model, data) -> None:
    chip = CHIP.with_levels(16).with_sigma(0.15)
    found = choose(model, chip, data, 1.0, trials=Trials(("offset",)), state=State((3, 4)))
    _, held = halves(data)
    each = []
    for seed in (3, 4):
        session = Session(found.image, die=Die.simulated(seed))
        (y,) = session.run(None, {"x": held.all()})
        each.append(float((y.argmax(axis=1) == held.y).mean()))
    assert found.chosen.value == pytest.approx(np.mean(each), abs=0.02)


def test_dies_are_recovered_where_that_is_the_state(model, data) -> None:
    chip = CHIP.with_levels(16).with_sigma(0.3)
    some = data.subset(np.arange(160))
    written, recovered = (
        choose(
            model, chip, some, 1.0, trials=Trials(("offset",)), state=State((901,), recover=r)
        ).chosen
        for r in (False, True)
    )  # fmt: skip
    assert written.perfect == recovered.perfect
    assert written.value < recovered.value


def test_something_must_be_on_the_array(model, data) -> None:
    trials = Trials(("offset", "digital"), price=Price("cells", 0.5))
    with pytest.raises(UsageError, match="no layer would be on the array"):
        choose(model, CHIP, data, ALLOWED, trials=trials)


def test_digital_layers_are_chosen_where_they_are_cheap(model, data) -> None:
    cheap, dear = (
        choose(
            model, CHIP, data, ALLOWED,
            trials=Trials((*KINDS, "digital"), price=Price("cells", price)),
        )
        for price in (1.2, 50.0)
    )  # fmt: skip
    assert cheap.reached
    assert dear.chosen.point.cells > 0
    assert all(o.mapping != "digital" for o in dear.chosen.point.offers)
    digital = [
        name
        for name, o in zip(cheap.weighed.layers, cheap.chosen.point.offers, strict=True)
        if o.is_digital
    ]
    assert digital, "a digital weight costs little more than a cell"
    assert not set(digital) & {layer.name for layer in cheap.image.layers}
    price = sum(1.2 * size for name, size in
                zip(cheap.weighed.layers, cheap.weighed.weights, strict=True)
                if name in digital)  # fmt: skip
    assert cheap.chosen.cost == summarize(cheap.image)["cells_used"] + price
    noted = cheap.image.options["mapping"]
    on, _ = halves(data)
    again = pimc.compile(model, CHIP, calib=on, options=Options(mapping=noted))
    assert again.to_bytes() == cheap.image.to_bytes()


@pytest.mark.parametrize(
    ("what", "key"), [("energy", "energy_pj"), ("latency", "latency_ns"), ("arrays", "arrays_used")]
)
def test_other_costs_are_those_that_info_tells(model, data, what, key) -> None:
    found = choose(model, CHIP, data, ALLOWED, trials=Trials(KINDS, price=Price(what)))
    assert found.reached
    assert found.chosen.cost == pytest.approx(summarize(found.image)[key])


def test_ranges_are_chosen_by_layer(model, data) -> None:
    chip = CHIP.with_levels(16).with_(**{"adc.range_method": "percentile", "adc.percentile": 50.0})
    found = choose(model, chip, data, 0.02, trials=Trials(("offset",), ("mse",)))
    assert {o.adc_range for o in found.chosen.point.offers} == {"mse"}, "half of all are clipped"
    assert found.image.options["adc_range"] == dict.fromkeys(found.weighed.layers, "mse")


def test_too_few_samples_are_refused(data) -> None:
    with pytest.raises(DataError, match="30 samples are too few"):
        halves(data.subset(np.arange(30)))
    on, held = halves(data)
    assert (len(on), len(held)) == (200, 200)
    np.testing.assert_array_equal(held.x[:3], data.x[1:6:2])
