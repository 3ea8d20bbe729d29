"""Networks whose layers become cells in different ways, from the compiler to a recovered die."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import pimc
from pimc.api import Options
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.errors import ModelError, UsageError
from pimc.image.changes import changes
from pimc.image.golden import golden_model
from pimc.image.image import Image
from pimc.image.summary import summarize
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.train.distill import DistillOptions
from pimc.runtime.capture import CaptureOptions
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session

FINE = Chip.default().with_array(16, 8).with_(**{"adc.bits": 14, "read_noise.relative": 0.0})
MIXED = {
    "slices and a pair": {"w1": "sliced:2", "w2": "differential"},
    "overlapping slices": {"w1": "sliced:3:4", "w3": "sliced:2:8"},
    "a pair in two arrays": {"w1": "offset", "w2": "differential:arrays"},
    "a pair on two wordlines": {"w1": "differential:rows", "w3": "sliced:2"},
    "all different": {
        "w1": "differential:arrays", "w2": "differential:rows", "w3": "differential:columns",
    },
}  # fmt: skip
PEDESTALS = {
    "slices and a pair": "digital",
    "overlapping slices": "digital",
    "a pair in two arrays": "digital",
}


def compiled(model: Any, x: Any, asked: dict[str, str], chip: Chip = FINE) -> Image:
    return pimc.compile(
        model, chip, calib=x, options=Options(mapping=asked, equalize=False, write_noise=1.0)
    )


def on_perfect_cells(image: Image, x: Any) -> np.ndarray[Any, Any]:
    return np.asarray(Session(image, die=Die.ideal()).run(None, {"x": x})[0])


@pytest.mark.parametrize("name", MIXED)
def test_perfect_cells_give_what_the_levels_mean(name, tiny_model, tiny_inputs) -> None:
    model = tiny_model().SerializeToString()
    for pedestal in {"reference", PEDESTALS.get(name, "reference")}:
        chip = FINE.with_(**{"mapping.pedestal": pedestal})
        image = compiled(model, tiny_inputs, MIXED[name], chip)
        assert Image.from_bytes(image.to_bytes()).to_bytes() == image.to_bytes()
        session = ort.InferenceSession(golden_model(image).SerializeToString())
        meant = session.run(None, {"x": tiny_inputs})[0]
        found = on_perfect_cells(image, tiny_inputs)
        assert np.abs(found - meant).max() < 0.02 * np.abs(meant).max()


def test_each_layer_is_as_if_all_were_of_its_mapping(tiny_model, tiny_inputs) -> None:
    """Without data no layer depends on another: codes and cells are those of a chip of one kind."""
    model = tiny_model().SerializeToString()
    mixed = pimc.compile(model, FINE, options=Options(mapping=MIXED["slices and a pair"]))
    for number, kind in enumerate(("sliced", "differential")):
        whole = pimc.compile(model, FINE.with_mapping(kind))
        one, other = mixed.layers[number], whole.layers[number]
        assert one.mapping == other.mapping
        np.testing.assert_array_equal(one.scale, other.scale)
        cells = [image.cells(layer) for image, layer in ((mixed, one), (whole, other))]
        ours, alone = (
            np.where(where >= 0, image.levels.reshape(-1)[np.maximum(where, 0)], 0)
            for image, where in zip((mixed, whole), cells, strict=True)
        )
        np.testing.assert_array_equal(ours, alone)


def test_more_cells_come_nearer_to_the_float_network(tiny_model, tiny_inputs) -> None:
    model = tiny_model().SerializeToString()
    wanted = ort.InferenceSession(model).run(None, {"x": tiny_inputs})[0]
    chip = FINE.with_levels(4).with_(**{"dac.bits": 12})

    def lost(asked: dict[str, str]) -> float:
        found = on_perfect_cells(compiled(model, tiny_inputs, asked, chip), tiny_inputs)
        return float(np.square(found - wanted).mean())

    one, all_two = lost({}), lost({"*": "sliced:2"})
    some = lost({"w1": "sliced:2"})
    assert all_two < some < one


def test_planes_in_other_arrays_leave_no_array_empty(tiny_model) -> None:
    """Only the arrays of layers that lie in two have others beside them."""
    image = pimc.compile(tiny_model(), FINE, options=Options(mapping=MIXED["a pair in two arrays"]))
    assert set(image.tiles.array.tolist()) == set(range(image.arrays))
    apart = next(layer for layer in image.layers if layer.layout == "arrays")
    own = image.tiles.of_layer(apart.index)
    planes = image.tiles.col[own] // apart.cols
    places = np.stack([image.tiles.array_row[own], image.tiles.array_col[own]], axis=1)
    assert sorted(places[planes == 0].tolist()) == sorted(places[planes == 1].tolist())
    assert not set(image.tiles.array[own][planes == 0]) & set(image.tiles.array[own][planes == 1])


def test_digital_is_one_of_them(tiny_model, tiny_inputs) -> None:
    model = tiny_model().SerializeToString()
    one = compiled(model, tiny_inputs, {"w2": "digital", "w3": "sliced:2"})
    assert [layer.name for layer in one.layers] == ["w1", "w3"]
    assert one.options["mapping"] == {"w2": "digital", "w3": "sliced:2"}
    with pytest.raises(UsageError, match="mapping w2=offset: no layer on the array"):
        pimc.compile(model, FINE, options=Options(digital=("w2",), mapping={"w2": "offset"}))
    with pytest.raises(ModelError):
        compiled(model, tiny_inputs, {"*": "digital"})


def test_summary_and_difference_show_them(tiny_model, tiny_inputs) -> None:
    model = tiny_model().SerializeToString()
    plain = compiled(model, tiny_inputs, {})
    mixed = compiled(model, tiny_inputs, {"w1": "sliced:2:8"})
    told = summarize(mixed)
    assert [entry["mapping"] for entry in told["layers"]] == ["sliced:2:8", "offset", "offset"]
    assert [entry["cells_a_weight"] for entry in told["layers"]] == [2, 1, 1]
    weights = [e["groups"] * e["rows"] * e["cols"] for e in told["layers"]]
    cells = weights[0] + sum(weights)
    assert told["cells_used"] == cells
    assert told["cells_a_weight"] == pytest.approx(cells / sum(weights))
    found = changes(plain, mixed)
    assert "mapping" in found.digital["w1"]
    assert all("mapping" not in what for name, what in found.digital.items() if name != "w1")
    assert "mapping" not in plain.options


RECOVERY = RecoverOptions(
    rounds=1,
    budget=0.2,
    influence_images=16,
    capture=CaptureOptions(vectors=48, repeats=2, images=16),
    distill=DistillOptions(epochs=2),
)


@pytest.mark.parametrize("name", [*MIXED])
def test_a_die_is_recovered(name, tiny_model, tiny_inputs) -> None:
    model = tiny_model().SerializeToString()
    chip = FINE.with_sigma(0.1)
    image = compiled(model, tiny_inputs, MIXED[name], chip)
    wanted = ort.InferenceSession(model).run(None, {"x": tiny_inputs})[0]
    session = Session(image, die=Die.simulated(3))

    def lost(session: Session) -> float:
        return float(np.square(session.run(None, {"x": tiny_inputs})[0] - wanted).mean())

    before = lost(session)
    found = recover(image, session.device, Dataset.of(tiny_inputs), RECOVERY)
    assert [layer.mapping for layer in found.image.layers] == [e.mapping for e in image.layers]
    again = Session(Image.from_bytes(found.image.to_bytes()), die=session.device)
    assert lost(again) < before / 2
