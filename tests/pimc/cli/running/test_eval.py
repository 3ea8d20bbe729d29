"""``pimc eval``, and the whole way from a model to an accuracy."""

from __future__ import annotations

import numpy as np
import pytest

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import load_data
from pimc.runtime.die.die import Die
from pimc.runtime.door.abilities import saturation_of
from pimc.runtime.session import Session
from pimc.studies.evaluate import accuracy


def test_eval_over_dies(pimc, image, data) -> None:
    done = pimc("eval", "--data", "data.npz", "--dies", "3", "--seed", "4", "--json")
    assert (done.code, done.err) == (0, "")
    result = done.json
    labelled = load_data("data.npz")
    wanted = [accuracy(Session(image, die=Die.simulated(s), seed=s), labelled) for s in (4, 5, 6)]
    assert result["accuracy_per_die"] == wanted
    assert result["accuracy_mean"] == pytest.approx(np.mean(wanted))
    assert result["accuracy_std"] == pytest.approx(np.std(wanted, ddof=1))
    assert result["samples"] == 64
    assert result["images_per_second"] > 0
    low, high = result["accuracy_interval_95"]
    assert low <= result["accuracy_mean"] <= high
    assert 0.5 < result["float_accuracy"] <= 1


def test_eval_takes_the_least_age_of_a_chip(pimc, tiny_model, tiny_inputs, data) -> None:
    """Fresh dies of a chip whose figures begin a second after the write are a second old."""
    chip = Chip.load("cmo").with_array(16, 8).with_(**{"retention.sigma_1s_us": 20.0})
    compile_model(tiny_model(), chip, calib=tiny_inputs).save("cmo.pimc")
    arguments = ["eval", "cmo.pimc", "--data", "data.npz", "--dies", "2"]
    fresh = pimc(*arguments, "--json").json
    assert fresh["age_s"] == 1.0
    assert (
        "\nage            1 s, the least age that the chip has figures for\n"
        in pimc(*arguments).out
    )
    for age in ("0s", "1s"):
        again = pimc(*arguments, "--age", age, "--json").json
        assert (again["age_s"], again["accuracy_per_die"]) == (1.0, fresh["accuracy_per_die"])
    older = pimc(*arguments, "--age", "30d", "--json").json
    assert older["age_s"] == 2_592_000.0
    assert older["accuracy_per_die"] != fresh["accuracy_per_die"]
    assert "\nage            2,592,000 s\n" in pimc(*arguments, "--age", "30d").out
    # A die that is programmed and read is the same as one that is drawn.
    assert pimc("program", "cmo.pimc", "--die", "a.die", "--seed", "0").code == 0
    written = pimc("eval", "cmo.pimc", "--data", "data.npz", "--die", "a.die", "--json").json
    assert written["accuracy_per_die"] == fresh["accuracy_per_die"][:1]
    pimc("age", "30d", "--die", "a.die")
    aged = pimc("eval", "cmo.pimc", "--data", "data.npz", "--die", "a.die", "--json").json
    assert aged["accuracy_per_die"] == older["accuracy_per_die"][:1]


def test_eval_tells_which_layers_saturate(pimc, narrow, tiny_inputs, data) -> None:
    arguments = ["eval", "narrow.pimc", "--data", "data.npz", "--dies", "2"]
    shares = pimc(*arguments, "--json").json["saturation"]
    assert set(shares) == {"w1", "w2", "w3"}
    clipped, conversions = np.zeros(3), np.zeros(3)
    for seed in (0, 1):
        session = Session("narrow.pimc", die=Die.simulated(seed), seed=seed)
        session.run(None, {"x": tiny_inputs})
        for number, found in enumerate(saturation_of(session.device).values()):
            clipped[number] += found.clipped
            conversions[number] += found.conversions
    assert list(shares.values()) == pytest.approx(clipped / conversions, rel=0.05)
    assert max(shares.values()) > 0.001
    text = pimc(*arguments).out
    line = next(line for line in text.splitlines() if line.startswith("saturation"))
    for name, share in shares.items():
        assert (name in line) == (share > 0.001)


def test_eval_refuses_scores_that_are_no_numbers(pimc, data, undefined) -> None:
    done = pimc("eval", "undefined.pimc", "--data", "data.npz", "--ideal")
    assert (done.code, done.out) == (2, "")
    assert "are NaN or infinite" in done.err


def test_eval_keeps_quiet_about_what_does_not_saturate(pimc, tiny_model, tiny_inputs, data) -> None:
    wide = {"adc.range": "fixed", "adc.full_scale_us": 600.0}
    chip = Chip.default().with_array(16, 8).with_(**wide)
    compile_model(tiny_model(), chip, calib=tiny_inputs).save("wide.pimc")
    done = pimc("eval", "wide.pimc", "--data", "data.npz", "--dies", "1")
    assert done.code == 0
    assert "saturation" not in done.out


def test_eval_on_one_die_on_perfect_cells_and_the_exit_code(pimc, image, data) -> None:
    ideal = pimc("eval", "--data", "data.npz", "--ideal", "--json", "--min-accuracy", "1").json
    assert (ideal["accuracy_per_die"], ideal["ok"]) == ([1.0], True)
    assert pimc("eval", "--data", "data.npz", "--ideal", "--limit", "9", "--json").json[
        "samples"
    ] == 9  # fmt: skip
    pimc("program", "--die", "d.die", "--seed", "4")
    arguments = ["eval", "--data", "data.npz", "--die", "d.die", "--seed", "4"]
    one = pimc(*arguments, "--json").json
    assert one["dies"] == ["sim:4"]
    drawn = pimc("eval", "--data", "data.npz", "--dies", "1", "--seed", "4", "--json").json
    assert one["accuracy_per_die"] == drawn["accuracy_per_die"]
    share = one["accuracy_mean"]
    assert 0 < share < 1
    assert pimc(*arguments, "--min-accuracy", share - 0.001).code == 0
    failed = pimc(*arguments, "--min-accuracy", 100 * share + 0.1)
    assert failed.code == 1
    assert "NOT reached" in failed.out


def test_eval_refuses_what_it_cannot_measure(pimc, image, dynamic_image, data, here) -> None:
    np.savez("plain.npz", x=np.load("data.npz")["x"])
    dynamic_image.save("dynamic.pimc")
    pimc("program", "dynamic.pimc", "--die", "other.die")
    for arguments, message in [
        (["--data", "plain.npz"], "has no labels"),
        (["--data", "gone.npz"], "gone.npz"),
        (["--data", "data.npz", "--layout", "NHWC"], "data.npz"),
        (["--data", "data.npz", "--dies", "2", "--ideal"], "exclude each other"),
        (["--data", "data.npz", "--die", "other.die"], "cells do not hold this image"),
        (["--data", "data.npz", "--die", "gone.die"], "no such die file"),
    ]:
        done = pimc("eval", "tiny.pimc", *arguments)
        assert done.code in (2, 3)
        assert message in done.err, arguments
        assert done.out == ""


def test_the_whole_way_with_the_shipped_model(pimc, fashion, here) -> None:
    model = fashion / "resnet8.onnx"
    assert pimc("compile", model, "--calib", fashion, "--no-feedback", "-q").code == 0
    verified = pimc("verify", "--model", model, "--data", fashion, "--json")
    assert verified.json["ok"], verified.out
    done = pimc("eval", "--data", fashion, "--limit", "500", "--ideal", "--json")
    assert done.json["float_accuracy"] > 0.9
    assert done.json["accuracy_mean"] > 0.85
