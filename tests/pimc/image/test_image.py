"""Images: every cell where the format says, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.errors import ImageError
from pimc.files import container
from pimc.image.image import TILE_FIELDS, Image
from pimc.image.summary import summarize
from pimc.plan.records import Window
from tests.pimc.image.tiny_images import CHIP, LAYER, LEVELS, tensors, tiny

# --- content ---------------------------------------------------------------------------------


def test_layer() -> None:
    (layer,) = tiny().layers
    assert (layer.name, layer.rows, layer.cols, layer.window) == ("w", 3, 2, None)
    assert (layer.row_blocks, layer.col_blocks) == (2, 1)
    assert layer.bias.tolist() == [0.0, -1.0]
    assert layer.teacher_weight is None
    assert layer.row_correction is None


def test_window() -> None:
    sizes = {"kernel": [3], "strides": [1], "dilations": [1], "pads": [1, 1]}
    image = tiny(layers=[{**LAYER, "window": {**sizes, "auto_pad": "NOTSET"}}])
    assert image.layers[0].window == Window((3,), (1,), (1,), (1, 1))


WINDOW = {"kernel": [3], "strides": [1], "dilations": [1], "pads": [1, 1], "auto_pad": "NOTSET"}


def test_keys_that_are_not_known_are_ignored(tmp_path: Path) -> None:
    plain = tiny(layers=[{**LAYER, "window": WINDOW}])
    newer = tiny(layers=[{**LAYER, "window": {**WINDOW, "new": 1}, "new": [1]}], new={})
    newer.save(tmp_path / "newer.pimc")
    (one,), (two,) = plain.layers, Image.load(tmp_path / "newer.pimc").layers
    assert (one.window, one.name, one.rows) == (two.window, two.name, two.rows)


@pytest.mark.parametrize("key", [*LAYER])
def test_a_layer_without_a_key_is_refused(key: str) -> None:
    image = tiny(layers=[{name: value for name, value in LAYER.items() if name != key}])
    with pytest.raises(ImageError, match=f"layer 0 .*{key}: missing"):
        _ = image.layers


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"rows": "3"}, "rows: must be"),
    ({"rows": 0}, "rows: must be"),
    ({"cols": None}, "cols: must be"),
    ({"input_scale": -1.0}, "input_scale: must be"),
    ({"input_signed": 1}, "input_signed: must be"),
    ({"name": 7}, "name: must be"),
    ({"window": [3]}, "window: must be an object"),
    ({"window": {**WINDOW, "kernel": 3}}, "kernel: must be"),
    ({"window": {**WINDOW, "auto_pad": "SOME"}}, "auto_pad: must be"),
    ({"window": {"kernel": [3]}}, "strides: missing"),
]


@pytest.mark.parametrize(("changes", "message"), MALFORMED)
def test_a_malformed_layer_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError, match=f"layer 0 .*{message}"):
        _ = tiny(layers=[{**LAYER, **changes}]).layers


@pytest.mark.parametrize(
    ("index", "value", "message"),
    [
        ([0, 5], [1.0], "do not belong together"),
        ([0, 5], None, "do not belong together"),
        (None, [1.0], "do not belong together"),
        ([0, 6], [1.0, 2.0], "must increase from 0 to below 6"),
        ([-1, 5], [1.0, 2.0], "must increase"),
        ([3, 3], [1.0, 2.0], "must increase"),
    ],
)
def test_a_malformed_residual_is_refused(index: Any, value: Any, message: str) -> None:
    changed = {
        f"layer.0000.residual_{name}": np.array(values, kind)
        for name, values, kind in (("index", index, np.int32), ("value", value, np.float32))
        if values is not None
    }
    image = tiny()
    with pytest.raises(ImageError, match=f"layer 0 .*: .*{message}"):
        _ = Image.build(image.manifest, {**image.tensors, **changed}).layers


def test_a_residual_is_laid_out_by_group_row_and_column() -> None:
    values = {"residual_index": np.array([1, 4], np.int32)}
    values["residual_value"] = np.array([0.5, -2.0], np.float32)
    found = tiny().updated(columns={0: values}).layers[0].residual
    assert found is not None
    np.testing.assert_array_equal(found, [[[0, 0.5], [0, 0], [-2, 0]]])
    assert tiny().layers[0].residual is None


@pytest.mark.parametrize("layers", [None, {}, [3], [LAYER, LAYER]])
def test_malformed_layers_are_refused(layers: Any) -> None:
    with pytest.raises(ImageError, match="layer"):
        _ = tiny(layers=layers).layers


@pytest.mark.parametrize(
    "chip",
    [None, "tiny", {}, {**CHIP.to_dict(), "new": 1}, {**CHIP.to_dict(), "adc": {"bits": 0}}],
)
def test_a_chip_that_is_not_understood_is_refused(chip: Any) -> None:
    with pytest.raises(ImageError, match="chip") as caught:
        _ = tiny(chip=chip).chip
    assert caught.value.hint


def test_cells_and_levels() -> None:
    image = tiny()
    cells = image.cells(image.layers[0])
    # (array · 2 + wordline) · 4 + bitline; the second block has one row of two.
    assert cells.tolist() == [[[0, 1], [4, 5]], [[6, 7], [-1, -1]]]
    assert image.levels.tolist() == LEVELS
    assert image.used.tolist() == [[[True, True, False, False], [True] * 4]]


def test_lines_move_the_cells_of_a_tile() -> None:
    moved = tensors()
    # The second tile keeps its place; the first has wordlines 1, 0 and bitlines 3, 0.
    moved |= {"lines": np.array([1, 0, 3, 0], np.int32), "line_offsets": np.array([0, -1])}
    image = Image.build(tiny().manifest, moved)
    assert image.cells(image.layers[0])[0].tolist() == [[7, 4], [3, 0]]
    assert len(TILE_FIELDS) == image.tiles.table().shape[1]


def test_levels_of_some_cells_are_those_of_all_cells_with_these_replaced(tiny_image) -> None:
    cells = np.flatnonzero(tiny_image.used)[::3]
    levels = (tiny_image.levels.reshape(-1)[cells] + 1) % tiny_image.chip.cell.levels
    every = tiny_image.levels.copy()
    every.reshape(-1)[cells] = levels
    some = tiny_image.updated(cells=cells, levels=levels)
    assert some.to_bytes() == tiny_image.updated(levels=every).to_bytes()
    assert some.levels.tolist() == every.tolist()
    none = tiny_image.updated(cells=cells[:0], levels=levels[:0])
    assert none.to_bytes() == tiny_image.to_bytes()


def test_other_layers_are_other_tensors_and_keys() -> None:
    image = tiny()
    (layer,) = image.layers
    bias, gain = np.array([1.0, 2.0], np.float32), np.array([2.0, 1.0], np.float32)
    wanted = image.updated(
        columns={0: {"bias": bias, "gain": gain}}, layers=[{**LAYER, "adc_lsb_us": 4.0}]
    )
    found = image.with_layers([replace(layer, bias=bias, gain=gain, adc_lsb_us=4.0)])
    assert found.to_bytes() == wanted.to_bytes()
    assert found.sha256 == wanted.sha256 != image.sha256
    assert image.with_layers([layer]).to_bytes() == image.with_layers([]).to_bytes()
    assert image.with_layers([layer]).to_bytes() == image.to_bytes() == tiny().to_bytes()


def test_keys_that_are_not_known_stay_with_other_layers() -> None:
    image = tiny(layers=[{**LAYER, "new": [1]}], new={})
    found = image.with_layers([replace(image.layers[0], input_scale=None)])
    assert found.manifest["layers"] == [{**LAYER, "new": [1], "input_scale": None}]
    assert found.manifest["new"] == {}


def test_what_is_none_is_left_out() -> None:
    image = tiny()
    teacher = np.zeros((1, 3, 2), np.float32)
    taught = image.with_layers([replace(image.layers[0], teacher_weight=teacher)])
    assert taught.layers[0].teacher_weight is not None
    again = taught.with_layers([replace(taught.layers[0], teacher_weight=None)])
    assert again.to_bytes() == image.to_bytes()


def test_only_what_changes_is_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    image, hashed = tiny(), []
    hashes = container.digests

    def counted(tensors: Any) -> list[str]:
        found = [*tensors]
        hashed.append(len(found))
        return hashes(found)

    monkeypatch.setattr(container, "digests", counted)
    image.with_layers([replace(image.layers[0], bias=np.zeros(2, np.float32))])
    image.with_chip(image.chip)
    image.updated(levels=image.levels)
    assert hashed == [1, 0, 1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bias", np.zeros(2)),
        ("gain", np.ones(3, np.float32)),
        ("row_correction", np.zeros((1, 1, 4), np.float32)),
        ("residual_index", np.zeros(1, np.int32)),
    ],
)
def test_a_layer_that_is_not_as_the_format_says_is_refused(name: str, value: Any) -> None:
    image = tiny()
    with pytest.raises(ImageError, match=r"layer 0 of .*: .*(expected|residual_value)"):
        image.with_layers([replace(image.layers[0], **{name: value})])


def test_what_changed_since_another_image_makes_it_again() -> None:
    parent = tiny()
    levels = parent.levels.copy()
    levels[0, 0, 0] = 3
    image = parent.updated(levels=levels)
    image = image.with_layers([replace(image.layers[0], input_scale=0.25)])
    layers, changed = image.since(parent)
    assert set(changed) == {"levels"}
    assert parent.with_changes(layers, changed).to_bytes() == image.to_bytes()
    assert parent.since(parent) == ([LAYER], {})


@pytest.mark.parametrize(
    ("phases", "once"), [(None, 6), ([0], 6), ([0, 1], 5), ([0, 4], 4), ([0, 1, 4], 3)]
)
def test_as_many_arrays_are_there_at_once_as_the_largest_phase_takes(phases, once) -> None:
    """Six arrays: the chip must have room for its fullest phase, first, last or in between."""
    levels = np.tile(tensors()["levels"], (6, 1))
    manifest = {**tiny().manifest, **({} if phases is None else {"phases": phases})}
    image = Image.build(manifest, tensors() | {"levels": levels})
    assert image.arrays == 6
    assert image.arrays_at_once == summarize(image)["arrays_at_once"] == once


def test_updated_is_a_new_image_and_the_old_one_stays() -> None:
    image = tiny()
    before = image.to_bytes()
    levels = image.levels.copy()
    levels[0, 0, 0] = 3
    bias = np.array([1.0, 2.0], np.float32)
    new = image.updated(levels=levels, columns={0: {"bias": bias}}, recovery={"round": 1})
    assert image.to_bytes() == before
    assert new.sha256 != image.sha256
    assert new.levels.tolist() == levels.tolist()
    assert new.layers[0].bias.tolist() == [1.0, 2.0]
    assert new.layers[0].scale.tolist() == image.layers[0].scale.tolist()
    assert new.manifest["recovery"] == {"round": 1}
    assert image.updated(levels=image.levels).to_bytes() == before
    # What was kept of the old image is what it would be from scratch.
    assert new.to_bytes() == Image.build(new.manifest, new.tensors).to_bytes()
    assert new.updated(levels=image.levels, columns={0: {"bias": image.layers[0].bias}},
                       recovery=None).to_bytes() == before  # fmt: skip
