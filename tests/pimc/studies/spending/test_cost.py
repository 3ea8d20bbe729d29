"""What layers cost."""

from __future__ import annotations

import numpy as np
import pytest

from pimc import api
from pimc.image.summary import summarize
from pimc.studies.spending.cost import GOALS, Minimize, Price


def test_costs_of_layers_are_those_of_info(tiny_image) -> None:
    told = summarize(tiny_image)
    assert Price("cells").layers(tiny_image) == [
        e["rows"] * e["cols"] * e["groups"] * e["cells_a_weight"] for e in told["layers"]
    ]
    keys: tuple[tuple[Minimize, str], ...] = (("energy", "energy_pj"), ("latency", "latency_ns"))
    for what, key in keys:
        assert Price(what).layers(tiny_image) == [e[key] for e in told["layers"]]
        assert Price(what).of_image(tiny_image) == pytest.approx(told[key])
    assert Price("arrays").of_image(tiny_image) == told["arrays_used"]
    chip = tiny_image.chip.array
    share = Price("arrays").layers(tiny_image)
    assert sum(share) == pytest.approx(told["cells_used"] / (chip.rows * chip.cols))
    single = Price("arrays").layers(tiny_image, "single")
    assert single == [e["tiles"] for e in told["layers"]]


def test_digital_layers_pay_by_weight_or_by_product(tiny_model, tiny_image) -> None:
    chip = tiny_image.chip
    layer = api.plan(tiny_model(), chip, stop_after="partition").layers[0]
    size = layer.weight.size
    assert Price("cells").digitally(layer, 9, chip) == 8 * size
    assert Price("cells", 2.5).digitally(layer, 9, chip) == 2.5 * size
    assert Price("arrays").digitally(layer, 9, chip) == pytest.approx(
        8 * size / (chip.array.rows * chip.array.cols)
    )
    assert Price("energy").digitally(layer, 9, chip) == pytest.approx(4.6 * 9 * size)
    assert Price("latency", 1.0).digitally(layer, 9, chip) == 9 * size
    assert all(np.isfinite(Price(goal).of_digital) for goal in GOALS)
