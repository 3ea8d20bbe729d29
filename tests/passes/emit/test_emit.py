"""The image of a finished plan: its tensors and its manifest, in memory and while written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pimc import api
from pimc.chip.design import Chip
from pimc.chip.fault_map import Fault, FaultMap
from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.passes.emit.emit import emit, emit_to
from pimc.passes.layout.tables import schedule_table, tile_table
from pimc.plan.records import Plan

SMALL = Chip.default().with_array(16, 8)
FAULTS = FaultMap((Fault(0, 2, 1, "open"),))


@pytest.fixture(scope="module")
def plan_with(tiny_model, tiny_inputs) -> Callable[..., Plan]:
    def make(chip: Chip = SMALL, faults: FaultMap | None = None) -> Plan:
        return api.plan(tiny_model(), chip, calib=tiny_inputs, faults=faults)

    return make


def test_an_image_holds_what_the_plan_says(plan_with) -> None:
    plan = plan_with()
    image = emit(plan, SMALL, {"packing": "dense", "mine": [1, 2]})
    assert image.manifest["options"] == {"packing": "dense", "mine": [1, 2]}
    assert image.manifest["model"] == {"name": "tiny.onnx", "sha256": plan.model_sha256}
    assert image.manifest["recovery"] is None
    assert image.manifest["provenance"] == plan.provenance
    assert image.chip == SMALL
    assert "phases" not in image.manifest
    np.testing.assert_array_equal(image.tiles.table(), tile_table(plan).table())
    np.testing.assert_array_equal(image.schedule.table(), schedule_table(plan).table())
    for ours, layer, entry in zip(image.layers, plan.layers, plan.quantized, strict=True):
        assert (ours.name, ours.output, ours.op) == (layer.name, layer.output, layer.op)
        assert (ours.groups, ours.rows, ours.cols) == (layer.groups, layer.rows, layer.cols)
        assert ours.window == layer.window
        assert ours.input_scale == entry.input_scale
        assert ours.adc_lsb_us == entry.adc_lsb_us
        np.testing.assert_array_equal(ours.scale, entry.scale)
        np.testing.assert_array_equal(ours.teacher_weight, layer.weight[:])
        np.testing.assert_array_equal(ours.teacher_bias, layer.bias)


@pytest.mark.parametrize("teacher", [True, False])
@pytest.mark.parametrize("faults", [None, FAULTS])
def test_written_while_it_is_worked_out_it_is_the_same_file(
    teacher: bool, faults: FaultMap | None, plan_with, tmp_path: Path
) -> None:
    plan = plan_with(faults=faults)
    whole = emit(plan, SMALL, {}, teacher=teacher)
    streamed = emit_to(tmp_path / "a.pimc", plan, SMALL, {}, teacher=teacher)
    assert (tmp_path / "a.pimc").read_bytes() == whole.to_bytes()
    assert streamed.sha256 == whole.sha256 == Image.load(tmp_path / "a.pimc").sha256
    assert ("lines" in whole.tensors) == (faults is not None)
    assert any("teacher" in name for name in whole.tensors) == teacher


def test_moved_tiles_say_where_their_lines_are(plan_with) -> None:
    plan = plan_with(faults=FAULTS)
    image = emit(plan, SMALL, {})
    for number, (tile, place, lines) in enumerate(
        zip(plan.tiles, plan.places, plan.lines, strict=True)
    ):
        wordlines, bitlines = image.lines(number)
        natural = place.row + np.arange(tile.rows), place.col + np.arange(tile.cols)
        wanted = natural if lines is None else (lines.wordlines, lines.bitlines)
        np.testing.assert_array_equal(wordlines, wanted[0])
        np.testing.assert_array_equal(bitlines, wanted[1])


def test_ranges_of_columns_go_along(plan_with) -> None:
    chip = SMALL.with_(**{"adc.range": "column"})
    plan = plan_with(chip)
    image = emit(plan, chip, {})
    for ours, entry in zip(image.layers, plan.quantized, strict=True):
        assert entry.adc_column_lsb_us is not None
        np.testing.assert_array_equal(ours.adc_column_lsb_us, entry.adc_column_lsb_us)


def test_phases_and_passes_of_ones_own_are_told_where_there_are_any(plan_with) -> None:
    note = {"name": "mine", "after": "tile", "options": {"x": 1}}
    plan = replace(plan_with(), phases=(0, 2), own_passes=(note,))
    manifest = emit(plan, SMALL, {"packing": "dense"}).manifest
    assert manifest["phases"] == [0, 2]
    assert manifest["options"] == {"packing": "dense", "passes": [note]}


def test_a_file_that_cannot_be_written(plan_with, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        emit_to(tmp_path / "gone" / "a.pimc", plan_with(), SMALL, {})
