"""Strategies by name, and what each does to a die."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.passes.recover.loop import recover
from pimc.passes.recover.recovery import Recovery
from pimc.passes.recover.strategies import strategy_named
from pimc.passes.recover.train.harden import HardenedCache, harden
from pimc.passes.recover.write.residual import residual_weights
from pimc.studies.compare import compare
from tests.passes.recover.strategies.one_die import OPTIONS, recovered


def kept_loss(recovery: Recovery) -> float:
    (kept,) = (stage for stage in recovery.stages if stage.kept)
    return kept.loss


def test_nothing_leaves_die_and_image_as_they_were(image, calib) -> None:
    recovery, device = recovered(image, calib, "none")
    assert recovery.cells_rewritten == 0
    assert int(device.die.cells.writes.max()) == 1
    for name, value in image.tensors.items():
        np.testing.assert_array_equal(recovery.image.tensors[name], value)
    note = recovery.image.recovery
    assert note is not None
    assert note.strategy == "none"


def test_affine_changes_only_gain_and_bias(image, calib) -> None:
    recovery, device = recovered(image, calib, "affine")
    assert int(device.die.cells.writes.max()) == 1
    changed = {
        name.rpartition(".")[2]
        for name, value in recovery.image.tensors.items()
        if not np.array_equal(image.tensors[name], value)
    }
    assert changed == {"gain", "bias"}
    assert kept_loss(recovery) < 0.7 * recovery.stages[0].loss


def test_full_rewrite_writes_every_cell_once_to_its_own_level(image, calib) -> None:
    recovery, device = recovered(image, calib, "full-rewrite")
    assert recovery.cells_rewritten == int(image.used.sum())
    np.testing.assert_array_equal(device.die.cells.writes == 2, image.used)
    np.testing.assert_array_equal(recovery.image.levels, image.levels)
    assert kept_loss(recovery) < recovery.stages[0].loss


def test_layer_by_layer_the_first_layer_stays(image, calib) -> None:
    recovery, device = recovered(image, calib, "layerwise")
    first = image.cells(image.layers[0])
    writes = device.die.cells.writes.reshape(-1)
    assert int(writes[first[first >= 0]].max()) == 1
    assert 0 < recovery.cells_rewritten == int(writes.sum()) - int(image.used.sum())
    assert kept_loss(recovery) < recovery.stages[0].loss


@pytest.mark.parametrize("share", [None, 0.02])
def test_a_residual_writes_nothing_and_gains_more_than_gains_and_offsets(
    image, calib, share
) -> None:
    options = replace(OPTIONS, residual=share)
    recovery, device = recovered(image, calib, "residual", options)
    assert recovery.cells_rewritten == 0
    assert int(device.die.cells.writes.max()) == 1
    weights = sum(layer.groups * layer.rows * layer.cols for layer in image.layers)
    count = residual_weights(recovery.image)
    assert 0.5 * (share or 0.05) * weights < count <= (share or 0.05) * weights
    assert kept_loss(recovery) < kept_loss(recovered(image, calib, "affine")[0])
    again = recover(recovery.image, device, calib, options, strategy="residual")
    assert residual_weights(again.image) <= (share or 0.05) * weights


def test_a_residual_after_rewriting_gains_more(image, calib) -> None:
    plain, _ = recovered(image, calib, "selective")
    found, _ = recovered(image, calib, "selective", replace(OPTIONS, residual=0.05))
    assert residual_weights(plain.image) == 0 < residual_weights(found.image)
    assert kept_loss(found) < kept_loss(plain)


def test_trained_levels_stay_within_the_budget(calib, tiny_model, tiny_inputs) -> None:
    rates = {"faults.stuck_gmax_rate": 0.0175, "faults.stuck_gmin_rate": 0.0904}
    chip = Chip.default().with_array(64, 32).with_sigma(0.05).with_(**rates)
    image = compile_model(tiny_model(), chip, calib=tiny_inputs, options=Options(feedback=False))
    options = replace(OPTIONS, budget=0.3)
    plain, _ = recovered(image, calib, "selective", replace(options, budget=0.15))
    found, device = recovered(
        image, calib, "selective", replace(options, train=("gain", "bias", "levels"))
    )
    assert plain.cells_rewritten < found.cells_rewritten <= 0.3 * image.used.sum()
    assert int(device.die.cells.writes.sum()) == image.used.sum() + found.cells_rewritten
    # On so small a network more writes gain less than the chance of their errors.
    assert kept_loss(found) < min(1.2 * kept_loss(plain), 0.3 * found.stages[0].loss)


@pytest.mark.parametrize("train", [("gain",), ("bias",), ("levels",)])
def test_only_what_is_named_is_trained(image, calib, train) -> None:
    options = replace(OPTIONS, train=train, rounds=0)
    names = [stage.name for stage in recovered(image, calib, "selective", options)[0].stages]
    assert any("distilling" in name for name in names) == (train != ("levels",))
    assert any("round" in name for name in names) == (train == ("levels",))


def test_what_does_not_depend_on_the_die_is_trained_once(image, calib, monkeypatch) -> None:
    calls = []

    def counted(*arguments: Any, **named: Any) -> Image:
        calls.append(1)
        return harden(*arguments, **named)

    monkeypatch.setattr("pimc.passes.recover.train.harden.harden", counted)
    options = replace(OPTIONS, seed=11)
    found = compare(image, calib, None, ["vat", "vat-kd"], [3, 4], options)
    assert len(calls) == 2  # one a strategy
    assert found[0].cells_rewritten == found[1].cells_rewritten > 0
    again = compare(image, calib, None, ["vat"], [4], options)
    assert again[0].loss == found[1].loss


#: All that hardening looks at, one at a time.
OTHERS: list[dict[str, Any]] = [
    {"distill": replace(OPTIONS.distill, temperature=0.1)},
    {"task": "regression"},
    {"seed": 3},
    {"holdout": 0.2},
]


@pytest.mark.parametrize("changes", OTHERS, ids=lambda changes: next(iter(changes)))
def test_another_option_is_another_training(image, calib, changes) -> None:
    """Two recoveries in one process: the second is not given what the first one trained."""
    shared, options = HardenedCache(), replace(OPTIONS, **changes)
    plain, _ = recovered(image, calib, "vat-kd", hardened=shared)
    found, _ = recovered(image, calib, "vat-kd", options, hardened=shared)
    assert not np.array_equal(found.image.levels, plain.image.levels)
    alone, _ = recovered(image, calib, "vat-kd", options)
    assert found.image.to_bytes() == alone.image.to_bytes()


def test_options_that_hardening_does_not_look_at_share_its_training(
    image, calib, monkeypatch
) -> None:
    shared = HardenedCache()
    plain, _ = recovered(image, calib, "vat-kd", hardened=shared)
    monkeypatch.setattr("pimc.passes.recover.train.harden.harden", None)
    options = replace(OPTIONS, rounds=2, cost_images=0, calibrate_images=16)
    found, _ = recovered(image, calib, "vat-kd", options, hardened=shared)
    np.testing.assert_array_equal(found.image.levels, plain.image.levels)


def test_a_strategy_that_needs_the_chip_refuses_a_capture() -> None:
    assert strategy_named("selective", chip=False).name == "selective"
    with pytest.raises(UsageError, match="needs the chip"):
        strategy_named("full-rewrite", chip=False)


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(UsageError, match="no such strategy") as caught:
        strategy_named("selectiv")
    assert "selective" in str(caught.value)


# --- side by side --------------------------------------------------------------------------------


def test_strategies_meet_the_same_dies(image, calib) -> None:
    found = compare(image, calib, None, ["none", "affine", "selective"], [3, 4], OPTIONS)
    assert [(one.strategy, one.seed) for one in found] == [
        (name, seed) for name in ("none", "affine", "selective") for seed in (3, 4)
    ]
    loss = {(one.strategy, one.seed): one.loss for one in found}
    for seed in (3, 4):
        assert loss["none", seed] > loss["affine", seed] > loss["selective", seed]
    written = {one.strategy: one.cells_rewritten for one in found}
    assert written["none"] == written["affine"] == 0 < written["selective"]
    assert all(one.accuracy_after is None and (one.reads or 0) > 0 for one in found)
    again = compare(image, calib, None, ["selective"], [4], OPTIONS)
    assert again[0].loss == loss["selective", 4]
