"""Networks larger than the chip are cut where that can be, and compute the same."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pimc import api
from pimc.chip.fault_map import Fault, FaultMap
from pimc.errors import ModelError
from pimc.image.summary import summarize
from pimc.plan.records import array_nodes, layer_of
from pimc.runtime.session import Session
from tests.passes.conftest import build_net
from tests.passes.layout.networks import CHIP, RNG, products, small


@pytest.mark.parametrize(
    ("order", "arrays", "starts"),
    [
        ([0, 1, 2, 3, 4], 5, (0,)),
        ([0, 1, 2, 3, 4], 2, (0, 2, 4)),
        ([0, 1, 2, 3, 4], 1, (0, 1, 2, 3, 4)),
        ([0, 1, 2, 1, 3, 4], 2, (0, 1, 3)),  # what is used again must still be there
        ([0, 1, 2, 1, 3, 4], 3, (0, 3)),
        ([0, 1, 2, 1, 3, 4], 4, (0, 4)),
    ],
)
def test_layers_are_cut_into_phases(order: list[int], arrays: int, starts: tuple[int, ...]) -> None:
    plan = api.plan(products(5, order), small(arrays), options=api.Options(phases=True))
    assert plan.phases == starts
    ends = (*starts[1:], plan.arrays)
    assert all(end - start <= arrays for start, end in zip(starts, ends, strict=True))
    # A layer lies in one phase, and phases follow each other.
    phase = {
        tile.layer: int(np.searchsorted(ends, place.array, "right"))
        for tile, place in zip(plan.tiles, plan.places, strict=True)
    }
    index = {layer.name: number for number, layer in enumerate(plan.layers)}
    seen = [phase[index[layer_of(node)]] for node in array_nodes(plan.graph)]
    assert seen == sorted(seen)


def test_a_phase_larger_than_the_chip_is_refused() -> None:
    with pytest.raises(ModelError, match="w1, w2: needed at once on 2 arrays, and the chip has 1"):
        api.plan(products(3, [0, 1, 2, 1]), small(1), options=api.Options(phases=True))
    with pytest.raises(ModelError, match="needs 3 arrays and the chip has 2: 1 are missing"):
        api.plan(products(3), small(2))


def test_an_image_in_phases_computes_the_same() -> None:
    model = products(4)
    x = np.random.default_rng(1).standard_normal((3, 16)).astype(np.float32)
    whole = api.compile(model, small(4))
    parts = api.compile(model, small(2), options=api.Options(phases=True))
    assert whole.phases == (0,)
    assert parts.phases == (0, 2)
    (expected,), (found,) = (Session(image).run(None, {"x0": x}) for image in (whole, parts))
    np.testing.assert_array_equal(found, expected)


def test_faults_of_the_chip_are_there_in_every_phase() -> None:
    """Both phases avoid the wordline of array 0 that is stuck, where rows are free."""
    nodes = [
        helper.make_node("MatMul", ["x0", "w0"], ["x1"]),
        helper.make_node("MatMul", ["x1", "w1"], ["x2"]),
    ]
    weights = {f"w{k}": RNG.standard_normal((8, 8)) for k in range(2)}
    model = build_net(nodes, {"x0": ["N", 8]}, weights, outputs=("x2",))
    chip = CHIP.with_array(12, 8).with_(**{"hierarchy.cores": 1, "hierarchy.arrays_per_core": 1})
    faults = FaultMap((Fault(0, 3, None, "stuck_gmax"),))
    options = api.Options(phases=True)
    plan = api.plan(model, chip, faults=faults, options=options)
    assert plan.phases == (0, 1)
    assert [plan.slot(place.array) for place in plan.places] == [0, 0]
    for lines in plan.lines:
        assert lines is not None
        assert 3 not in lines.wordlines


@pytest.mark.parametrize(("available", "once"), [(5, 5), (2, 2), (3, 3)])
def test_area_is_that_of_the_largest_phase(available: int, once: int) -> None:
    areas = {"array.cell_area_um2": 1.0, "dac.area_um2": 0.0}
    chip = small(available).with_(**areas)
    found = summarize(api.compile(products(5), chip, options=api.Options(phases=True)))
    assert found["arrays_at_once"] == once
    assert found["area_um2"] == pytest.approx(once * (16 * 16 + chip.adc.area_um2))
