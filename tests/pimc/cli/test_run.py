"""``pimc program``, ``run`` and ``eval``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import load_data
from pimc.runtime.die.die import Die
from pimc.runtime.door import drivers
from pimc.runtime.door.abilities import saturation_of
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from pimc.studies.evaluate import accuracy


@pytest.fixture
def image(tiny_image, here):
    """The tiny image as ``tiny.pimc`` in the current folder."""
    tiny_image.save("tiny.pimc")
    return tiny_image


@pytest.fixture
def data(tiny_image, tiny_inputs, here):
    """Labelled data that perfect cells get right: ``data.npz``."""
    labels = Session(tiny_image).run(None, {"x": tiny_inputs})[0].argmax(axis=1)
    np.savez("data.npz", x=tiny_inputs, y=labels)


class Stuck(SimDevice):
    """A chip of which some cells report that they did not take a write."""

    def program(self, cells, levels):
        super().program(cells, levels)
        return cells % 7 != 0


def test_program_tells_how_many_cells_did_not_take_it(pimc, image, monkeypatch) -> None:
    def open_stuck(image, *, die, seed):
        return Stuck(Die.simulated(seed), image.chip, image.arrays)

    monkeypatch.setitem(drivers._BUILT_IN, "bench", open_stuck)
    missed = int((np.flatnonzero(image.used) % 7 == 0).sum())
    assert missed > 0
    done = pimc("program", "--device", "bench", "--json")
    assert (done.code, done.json["cells_missed"]) == (0, missed)
    assert f"{missed:,} cells did not take it" in pimc("program", "--device", "bench").out


def cells(path) -> dict[str, np.ndarray]:
    return vars(Die.load(path).cells)


def test_program_writes_a_die_and_then_only_what_differs(pimc, image, here) -> None:
    done = pimc("program", "--die", "a.die", "--json", "--seed", "5")
    used = int(image.used.sum())
    assert done.code == 0
    assert (done.json["cells_written"], done.json["cells_kept"]) == (used, 0)
    assert done.json["device"] == "sim:5"
    pulses = used * image.chip.programming.pulses_per_cell
    wanted = pulses * image.chip.programming.pulse_ns * 1e-9
    assert done.json["estimated_seconds"] == pytest.approx(wanted)
    wanted = pulses * image.chip.programming.pulse_energy_pj
    assert done.json["estimated_energy_pj"] == pytest.approx(wanted)
    before = (here / "a.die").read_bytes()
    again = pimc("program", "--die", "a.die", "--json").json
    assert (again["cells_written"], again["cells_kept"]) == (0, used)
    assert (here / "a.die").read_bytes() == before
    assert sorted(entry.name for entry in here.iterdir()) == ["a.die", "tiny.pimc"]

    levels = image.levels.copy()
    first = np.argwhere(image.used)[0]
    levels[tuple(first)] ^= 1
    image.updated(levels=levels).save("next.pimc")
    update = pimc("program", "next.pimc", "--die", "a.die", "--json").json
    assert (update["cells_written"], update["arrays_written"]) == (1, 1)
    assert cells("a.die")["writes"][tuple(first)] == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(5, "Input/output error")])
@pytest.mark.parametrize("checkpoint_s", [0.0, 1000.0])
def test_programming_cut_anywhere_resumes_to_the_same_die(
    pimc, image, here, monkeypatch, checkpoint_s, error
) -> None:
    from pimc.cli import program as module

    monkeypatch.setattr(module, "CHECKPOINT_S", checkpoint_s)
    assert pimc("program", "--die", "whole.die").code == 0
    original = Die.program
    assert image.arrays >= 3

    for stop in range(image.arrays):
        name = f"cut{stop}.die"
        calls: list[int] = []

        def cut(self, *arguments, stop=stop, calls=calls):
            calls.append(1)
            if len(calls) == stop + 1:
                raise error
            return original(self, *arguments)

        monkeypatch.setattr(Die, "program", cut)
        done = pimc("program", "--die", name)
        assert done.code == (130 if error is KeyboardInterrupt else 2)
        saved = stop if checkpoint_s == 0 else 0
        assert (here / name).exists() == (saved > 0)
        assert not list(here.glob(".*.tmp"))
        monkeypatch.setattr(Die, "program", original)
        done = pimc("program", "--die", name, "--resume", "--json")
        assert done.code == 0
        assert done.json["arrays_resumed"] == saved
        for key, value in cells("whole.die").items():
            np.testing.assert_array_equal(cells(name)[key], value)
        assert not (here / f"{name}.journal").exists()


def test_a_killed_process_resumes_to_the_same_die(pimc, image, here) -> None:
    assert pimc("program", "--die", "whole.die").code == 0
    code = """
import time
from pimc.cli import program
from pimc.cli.main import main
from pimc.runtime.die.die import Die
program.CHECKPOINT_S = 0
write = Die.program
def slowly(self, *arguments):
    time.sleep(0.2)
    return write(self, *arguments)
Die.program = slowly
main(["program", "--die", "cut.die"])
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    journal = here / "cut.die.journal"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_text().count("\n") >= 3):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    noted = journal.read_text().count("\n") - 1
    journal.write_text(journal.read_text() + '{"arr')  # what a crash may leave
    done = pimc("program", "--die", "cut.die", "--resume", "--json")
    assert done.code == 0
    assert done.json["arrays_resumed"] == noted >= 2
    for key, value in cells("whole.die").items():
        np.testing.assert_array_equal(cells("cut.die")[key], value)


def test_resume_does_not_trust_a_journal_whose_die_has_gone(pimc, image, here) -> None:
    pimc("program", "--die", "whole.die")
    lines = [{"image": image.sha256, "device": "sim:0"}, {"array": 0}, {"array": 99}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (here / "b.die.journal").write_text(text)
    done = pimc("program", "--die", "b.die", "--resume", "--json")
    assert (done.code, done.json["arrays_resumed"]) == (0, 0)
    np.testing.assert_array_equal(cells("b.die")["g_us"], cells("whole.die")["g_us"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"image": "x", "device": "sim:0"}\n', "another image or device"),
        ('{"image": "x"}\nno json\n', "not a journal"),
        ('{"image": "x"}\n{"row": 1}\n', "not a journal"),
    ],
)
def test_a_foreign_or_damaged_journal_is_refused(pimc, image, here, text, message) -> None:
    (here / "c.die.journal").write_text(text)
    done = pimc("program", "--die", "c.die", "--resume")
    assert done.code == 3
    assert message in done.err
    assert pimc("program", "--die", "c.die").code == 0


def test_program_refuses_bad_devices_and_dies(pimc, image, dynamic_image, here) -> None:
    assert "needs a file" in pimc("program").err
    done = pimc("program", "--device", "sin", "--die", "a.die")
    assert done.code == 2
    assert "did you mean sim?" in done.err
    (here / "bad.die").write_bytes(b"no die")
    done = pimc("program", "--die", "bad.die")
    assert (done.code, done.out) == (3, "")
    other = Die.simulated(1)
    other.attach(image.chip.with_array(8, 8), 1)
    other.save("other.die")
    done = pimc("program", "--die", "other.die")
    assert done.code == 3
    assert "die of chip" in done.err
    done = pimc("program", "--die", "nowhere/a.die")
    assert done.code == 2
    assert not (here / "nowhere").exists()


def test_run_is_the_session_and_repeats_with_the_seed(pimc, image, tiny_inputs, here) -> None:
    np.save("x.npy", tiny_inputs)
    assert pimc("run", "--input", "x.npy", "--ideal", "-o", "ideal.npz").code == 0
    wanted = Session(image).run(None, {"x": tiny_inputs})[0]
    np.testing.assert_array_equal(np.load("ideal.npz")["y"], wanted)
    # Noise is drawn read by read, so both take all samples at once.
    seeded = ("run", "--input", "x.npy", "--seed", "3", "--batch-size", len(tiny_inputs))
    assert pimc(*seeded).code == 0
    noisy = np.load("x.out.npz")["y"]
    wanted = Session(image, Die.simulated(3), seed=3).run(None, {"x": tiny_inputs})[0]
    np.testing.assert_array_equal(noisy, wanted)
    # On a programmed die of the same seed the same cells are read.
    pimc("program", "--die", "d.die", "--seed", "3")
    assert pimc(*seeded, "--die", "d.die", "-o", "d.npy").code == 0
    np.testing.assert_array_equal(np.load("d.npy"), noisy)


def test_run_in_batches_gives_the_same_on_perfect_cells(pimc, image, tiny_inputs) -> None:
    np.savez("x.npz", x=tiny_inputs.astype(np.float64))
    for size in (5, 64):
        name = f"{size}.npy"
        args = ["run", "--input", "x.npz", "--ideal", "--batch-size", size, "-o", name]
        assert pimc(*args).code == 0
    np.testing.assert_allclose(np.load("5.npy"), np.load("64.npy"), rtol=1e-5, atol=1e-6)


def named_outputs(*names: str) -> onnx.ModelProto:
    """A small network with outputs of these names: x · w, and more of x each."""
    text = "agraph (float[N,4] x) => (float[N,3] y) { y = MatMul (x, w) }"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]>\n{text}')
    weight = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    model.graph.node[0].output[0] = names[0]
    model.graph.output[0].name = names[0]
    for number, name in enumerate(names[1:]):
        last = names[number]
        model.graph.node.append(onnx.helper.make_node("Neg", [last], [name]))
        output = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 3])
        model.graph.output.append(output)
    return model


def test_outputs_of_any_name_get_into_the_file(pimc, here, tiny_chip) -> None:
    x = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    np.save("x.npy", x)
    names = ("file", "/head/out", "a b.npy", "/")
    image = compile_model(named_outputs(*names), tiny_chip)
    image.save("a.pimc")
    done = pimc("run", "--input", "x.npy", "--ideal", "--json")
    assert done.code == 0
    keys = ["file", "head_out", "a b.npy", "_"]
    assert list(done.json["outputs"]) == keys
    found = np.load("x.out.npz")
    for key, wanted in zip(keys, Session(image).run(None, {"x": x}), strict=True):
        np.testing.assert_array_equal(found[key], wanted)
    first = (here / "x.out.npz").read_bytes()
    assert pimc("run", "--input", "x.npy", "--ideal").code == 0
    assert (here / "x.out.npz").read_bytes() == first


def test_outputs_that_would_share_a_name_are_refused(pimc, here, tiny_chip) -> None:
    np.save("x.npy", np.zeros((1, 4), np.float32))
    compile_model(named_outputs("/a", "a"), tiny_chip).save("a.pimc")
    done = pimc("run", "--input", "x.npy", "--ideal")
    assert (done.code, done.out) == (2, "")
    assert "outputs '/a' and 'a' would both be called 'a' in the file" in done.err
    assert not (here / "x.out.npz").exists()


def test_run_refuses_bad_inputs(pimc, image, tiny_inputs, here) -> None:
    np.save("bytes.npy", np.zeros((2, 2, 8, 8), np.uint8))
    np.save("shape.npy", np.zeros((2, 3, 8, 8), np.float32))
    np.save("nan.npy", np.full((2, 2, 8, 8), np.nan, np.float32))
    np.save("none.npy", np.zeros((0, 2, 8, 8), np.float32))
    np.savez("names.npz", a=tiny_inputs)
    np.save("objects.npy", np.array([{}]), allow_pickle=True)
    (here / "text.npy").write_text("1, 2, 3")
    np.save("good.npy", tiny_inputs)
    files = {entry.name for entry in here.iterdir()}
    for arguments, message in [
        (["bytes.npy"], "uint8 is not float32"),
        (["shape.npy"], "does not fit"),
        (["nan.npy"], "NaN"),
        (["none.npy"], "is empty"),
        (["names.npz"], "the model's inputs are x"),
        (["objects.npy"], "not an .npy or .npz"),
        (["text.npy"], "not an .npy or .npz"),
        (["gone.npy"], "no such file"),
        (["good.npy", "-o", "y.txt"], "go to .npz or .npy"),
        (["good.npy", "--ideal", "--die", "d.die"], "exclude each other"),
        (["good.npy", "--die", "d.die"], "no such die file"),
    ]:
        done = pimc("run", "--input", *arguments)
        assert done.code in (2, 3)
        assert message in done.err, arguments
        assert done.out == ""
    assert {entry.name for entry in here.iterdir()} == files


def test_eval_over_dies(pimc, image, data) -> None:
    done = pimc("eval", "--data", "data.npz", "--dies", "3", "--seed", "4", "--json")
    assert (done.code, done.err) == (0, "")
    result = done.json
    labelled = load_data("data.npz")
    wanted = [accuracy(Session(image, Die.simulated(s), seed=s), labelled) for s in (4, 5, 6)]
    assert result["accuracy_per_die"] == wanted
    assert result["accuracy_mean"] == pytest.approx(np.mean(wanted))
    assert result["accuracy_std"] == pytest.approx(np.std(wanted, ddof=1))
    assert result["samples"] == 64
    assert result["images_per_second"] > 0
    low, high = result["accuracy_interval_95"]
    assert low <= result["accuracy_mean"] <= high
    assert 0.5 < result["float_accuracy"] <= 1


def test_eval_tells_which_layers_saturate(pimc, tiny_model, tiny_inputs, data) -> None:
    narrow = {"adc.range": "fixed", "adc.full_scale_us": 10.0}
    chip = Chip.default().with_array(16, 8).with_(**narrow)
    compile_model(tiny_model(), chip, calib=tiny_inputs).save("narrow.pimc")
    arguments = ["eval", "narrow.pimc", "--data", "data.npz", "--dies", "2"]
    shares = pimc(*arguments, "--json").json["saturation"]
    assert set(shares) == {"w1", "w2", "w3"}
    clipped, conversions = np.zeros(3), np.zeros(3)
    for seed in (0, 1):
        session = Session("narrow.pimc", Die.simulated(seed), seed=seed)
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
