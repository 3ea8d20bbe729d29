"""Commands on networks with a state: what the chip gives when it is fed by its own states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from pimc.image.image import Image
from pimc.runtime.session import Session
from pimc.studies.evaluate import float_session
from pimc.tasks.statistics import auc
from tests.stateful import HIDDEN, by_hand, detector, golden, language_model, sounds, windows

FRAMES, LOUD = sounds(24, 6)
SR = np.int64(16000)
EVAL = ["eval", "vad.pimc", "--task", "binary", "--ideal", "--data"]


@pytest.fixture
def voices(here: Path, pimc) -> Path:
    """The detector, compiled, beside its data."""
    onnx.save(detector(), "vad.onnx")
    np.savez("calib.npz", input=FRAMES[:16], sr=SR)
    np.savez("test.npz", input=FRAMES[16:], sr=SR, y=LOUD[16:])
    Path("data.toml").write_text('[states]\nstate = "stateN"\n')
    done = pimc("compile", "vad.onnx", "--calib", "calib.npz", "--quiet", "--json")
    assert done.code == 0, done.err
    assert (done.json["states"], done.json["steps"]) == ({"state": "stateN"}, 6)
    assert done.json["calibration"] == {"samples": 96, "used": 64}
    return here


def test_eval_is_the_metric_of_a_loop_by_hand(pimc, voices) -> None:
    done = pimc("eval", "vad.pimc", "--data", "test.npz", "--task", "binary", "--ideal", "--json")
    assert (done.code, done.err) == (0, "")
    told = done.json
    y = LOUD[16:].reshape(-1)
    image = Image.load("vad.pimc")
    chip, in_float = Session(image), golden(detector())
    assert told["metric_mean"] == auc(by_hand(chip.run, FRAMES[16:]).reshape(-1), y)
    assert told["float_metric"] == pytest.approx(
        auc(by_hand(in_float.run, FRAMES[16:]).reshape(-1), y), abs=1e-3
    )
    assert (told["samples"], told["judged"]) == (8, 48)
    assert (told["states"], told["steps"]) == ({"state": "stateN"}, 6)
    text = pimc("eval", "vad.pimc", "--data", "test.npz", "--task", "binary", "--ideal").out
    assert "samples        8, 48 steps judged\n" in text
    assert "states         state ← stateN, 6 steps\n" in text


def test_sequences_of_which_no_step_counts(pimc, voices) -> None:
    """A whole batch of them is passed over; where there are no others, eval says so."""
    frames, y = np.concatenate([FRAMES[:16], FRAMES[:2]]), np.concatenate([LOUD[:16], LOUD[:2]])
    told = {}
    for name, judged in (("all", y), ("filled up", np.where(np.arange(18)[:, None] < 16, y, -1))):
        np.savez("some.npz", input=frames, sr=SR, y=judged)
        done = pimc(
            "eval", "vad.pimc", "--data", "some.npz", "--task", "binary", "--ideal", "--json"
        )
        told[name] = done.json["judged"]
    assert told == {"all": 108, "filled up": 96}
    np.savez("some.npz", input=frames, sr=SR, y=np.full_like(y, -1))
    done = pimc(*EVAL, "some.npz")
    assert (done.code, "no step is judged" in done.err) == (2, True)


def test_the_image_knows_its_states(pimc, voices) -> None:
    """No data.toml and no option is needed once an image was calibrated."""
    with_toml = ["eval", "vad.pimc", "--data", "test.npz", "--task", "binary", "--dies", "2"]
    wanted = pimc(*with_toml, "--json").json["metric_per_die"]
    Path("data.toml").unlink()
    assert pimc(*with_toml, "--json").json["metric_per_die"] == wanted
    assert pimc(*with_toml, "--jobs", "2", "--json").json["metric_per_die"] == wanted
    done = pimc("compile", "vad.onnx", "--calib", "calib.npz", "-o", "b.pimc", "--quiet")
    assert done.code == 2
    assert "if state is a state, name the output that feeds it" in done.err
    arguments = ["--calib", "calib.npz", "--state", "state=stateN", "-o", "b.pimc", "--quiet"]
    assert pimc("compile", "vad.onnx", *arguments).code == 0
    assert Path("b.pimc").read_bytes() == Path("vad.pimc").read_bytes()


def test_recovery_helps_the_chip_that_runs_by_itself(pimc, voices) -> None:
    arguments = ["--calib", "calib.npz", "--data", "test.npz", "--task", "binary", "--dies", "1"]
    done = pimc("recover", "vad.pimc", *arguments, "--epochs", "2", "--json", "--quiet")
    assert done.code == 0, done.err
    told = done.json
    assert (told["states"], told["steps"]) == ({"state": "stateN"}, 6)
    (die,) = told["dies"]
    assert die["basis"]["samples"] == 96
    assert die["basis"]["held_out"] % 6 == 0
    first, kept = die["stages"][0]["loss"], min(stage["loss"] for stage in die["stages"])
    assert kept < 0.5 * first


def test_run_gives_all_steps(pimc, voices) -> None:
    np.savez("clip.npz", input=FRAMES, sr=SR)
    done = pimc("run", "vad.pimc", "--input", "clip.npz", "--ideal", "-o", "out.npz", "--json")
    assert (done.code, done.err) == (0, "")
    assert (done.json["states"], done.json["steps"]) == ({"state": "stateN"}, 6)
    with np.load("out.npz") as out:
        found, states = out["output"], out["stateN"]
    wanted = by_hand(Session("vad.pimc").run, FRAMES)
    np.testing.assert_array_equal(found[..., 0], wanted)
    assert states.shape == (24, 6, 2, HIDDEN)
    # The second half goes on where the first one ended.
    np.savez("first.npz", input=FRAMES[:, :3], sr=SR)
    pimc("run", "vad.pimc", "--input", "first.npz", "--ideal", "-o", "first.out.npz")
    with np.load("first.out.npz") as out:
        np.savez("second.npz", input=FRAMES[:, 3:], sr=SR, state=out["stateN"][:, -1])
    pimc("run", "vad.pimc", "--input", "second.npz", "--ideal", "-o", "second.out.npz")
    with np.load("second.out.npz") as out:
        np.testing.assert_array_equal(out["output"][..., 0], wanted[:, 3:])


def test_run_names_what_does_not_fit(pimc, voices) -> None:
    np.savez("clip.npz", input=FRAMES)
    assert "the model's inputs are input, sr" in pimc("run", "vad.pimc", "--input", "clip.npz").err
    np.savez("clip.npz", input=FRAMES, sr=SR)
    done = pimc("run", "vad.pimc", "--input", "clip.npz", "--state", "state=output")
    assert "the output output is tensor(float) ['batch', 1]" in done.err
    assert pimc("run", "vad.pimc", "--input", "clip.npz", "--state", "state").code == 2


def test_verify_and_capture(pimc, voices) -> None:
    done = pimc("verify", "vad.pimc", "--data", "test.npz", "--model", "vad.onnx", "--json")
    assert done.code == 0, done.out
    assert done.json["ok"]
    captured = pimc("capture", "vad.pimc", "--calib", "calib.npz", "--json", "--vectors", "64")
    assert captured.code == 0, captured.err
    assert captured.json["samples"] == 96


def test_tokens_one_by_one_are_the_whole_window(pimc, here) -> None:
    onnx.save(language_model(), "lm.onnx")
    ids = windows(24)
    np.savez("calib.npz", ids=ids[:16])
    np.savez("test.npz", ids=ids[16:])
    np.savez("decode.npz", ids=ids[16:, :, None])
    arguments = ["--calib", "calib.npz", "--state", "past.*=present.*", "--quiet"]
    assert pimc("compile", "lm.onnx", *arguments).code == 0
    ideal = ["--task", "language-model", "--ideal", "--json"]
    whole = pimc("eval", "lm.pimc", "--data", "test.npz", *ideal).json
    by_token = pimc("eval", "lm.pimc", "--data", "decode.npz", *ideal).json
    assert whole["metric_mean"] == pytest.approx(by_token["metric_mean"], rel=1e-4)
    assert (whole["steps"], by_token["steps"]) == (None, 10)
    logits = golden(language_model()).run(
        ["logits"],
        {
            "ids": ids[16:],
            **{f"past.{n}.{kind}": np.zeros((8, 2, 0, 4), np.float32)
               for n in range(2) for kind in ("key", "value")},
        },
    )[0].astype(float)  # fmt: skip
    shifted = logits[:, :-1] - np.log(np.exp(logits[:, :-1]).sum(axis=2, keepdims=True))
    told = np.take_along_axis(shifted, ids[16:, 1:, None], axis=2)
    assert whole["float_metric"] == pytest.approx(np.exp(-told.mean()), rel=1e-5)
    refused = pimc("recover", "lm.pimc", "--calib", "decode.npz", "--dies", "1")
    assert "the state past.0.key grows from step to step" in refused.err


def test_sweep(pimc, voices) -> None:
    arguments = ["--calib", "calib.npz", "--data", "test.npz", "--task", "binary", "--dies", "1"]
    done = pimc("sweep", "vad.onnx", *arguments, "--over", "levels=8,16", "--json", "--quiet")
    assert done.code == 0, done.err
    assert done.json["failed"] == 0
    in_float = float_session(Image.load("vad.pimc"))
    y = LOUD[16:].reshape(-1)
    wanted = auc(by_hand(in_float.run, FRAMES[16:]).reshape(-1), y)
    assert done.json["float_metric"] == pytest.approx(wanted, abs=1e-6)
