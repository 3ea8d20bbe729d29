"""``pimc recover``."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from pimc.chip.fault_map import FaultMap
from pimc.image.image import Image
from pimc.passes.recover.write.residual import residual_weights
from pimc.runtime.capture import LayerCapture
from pimc.runtime.capture import layer_by_layer as take
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from tests.pimc.cli.recovering.quick import QUICK, names, write_capture

KEYS = {
    "float_accuracy",
    "quantized_accuracy",
    "accuracy_before",
    "accuracy_after",
    "cells_total",
    "cells_rewritten",
    "rounds",
    "seconds",
}


@pytest.fixture
def recovered(pimc, job) -> dict[str, Any]:
    """No image is named: the folder holds one."""
    done = pimc("recover", "--calib", "data", "--data", "data", "--die", "chip.die",
                "--budget", 20, *QUICK, "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.count("\n") == 1
    return done.json


def test_the_json_keys_scripts_rely_on(recovered, noisy) -> None:
    assert recovered.keys() >= KEYS
    assert recovered["float_accuracy"] == 1.0
    assert 0.8 < recovered["quantized_accuracy"] <= 1.0
    (before,), (after,) = recovered["accuracy_before"], recovered["accuracy_after"]
    assert after > before + 0.05
    assert recovered["cells_total"] == int(noisy.used.sum())
    assert 0 < recovered["cells_rewritten"] <= 0.2 * recovered["cells_total"]
    assert recovered["rounds"] == 2
    assert recovered["seconds"] > 0


def test_digital_weights_on_request_and_what_is_trained(pimc, job, noisy) -> None:
    arguments = ("recover", "--calib", "data", "--die", "chip.die", "--residual", 3, *QUICK)
    done = pimc(*arguments, "--train", "gain", "--json")
    assert done.code == 0, done.err
    count = done.json["residual_weights"]
    assert 0 < count <= 0.03 * noisy.used.sum()
    image = Image.load("tiny.r1.pimc")
    assert count == residual_weights(image)
    assert any(layer.residual is not None and layer.residual.any() for layer in image.layers)
    done = pimc("verify", "tiny.r1.pimc", "--data", "data")
    assert done.code == 0, done.err
    done = pimc("recover", "tiny.r1.pimc", *arguments[1:])
    assert "weights are added digitally" in done.out


def test_stuck_cells_are_written_as_a_map_that_compile_takes(
    pimc, tiny_model, tiny_inputs, here
) -> None:
    onnx.save(tiny_model(), here / "tiny.onnx")
    np.save(here / "x.npy", tiny_inputs)
    done = pimc("compile", "tiny.onnx", "--calib", "x.npy", "--set", "faults.stuck_gmin_rate=0.1")
    assert done.code == 0, done.err
    done = pimc("recover", "--calib", "x.npy", *QUICK)
    assert done.code == 0, done.err
    assert "stuck_gmin; see tiny.r1.faults.csv" in done.out
    (told,) = json.loads(Path("tiny.r1.report.json").read_text())["findings"]["faults"].items()
    assert told == ("stuck_gmin", len(FaultMap.load("tiny.r1.faults.csv").faults))
    done = pimc("compile", "tiny.onnx", "--faults", "tiny.r1.faults.csv", "-o", "again.pimc")
    assert done.code == 0, done.err


def test_what_a_capture_tells_of_a_die_serves_the_next_compilation(
    pimc, tiny_model, tiny_inputs, here
) -> None:
    """Compile, program, capture, recover from the capture, compile around what was found."""
    onnx.save(tiny_model(), here / "tiny.onnx")
    chip = (
        "faults.stuck_gmin_rate=0.1",
        "faults.stuck_gmax_rate=0.05",
        "cell.levels=4",
        "cell.sigma.fraction_of_range=0.005",
    )
    keys = [part for each in chip for part in ("--set", each)]
    reference = ort.InferenceSession(tiny_model().SerializeToString())
    (wanted,) = reference.run(None, {"x": tiny_inputs})
    found: list[str] = []
    left = []
    for name in ("a", "b", "c"):
        Path(name).mkdir()
        np.savez(f"{name}/calib.npz", x=tiny_inputs)
        image = f"{name}.pimc"
        for command in (
            ("compile", "tiny.onnx", "--calib", name, *keys, *found, "-o", image),
            ("program", image, "--die", "chip.die", "--seed", "900", "--force"),
            ("capture", image, "--calib", name, "--die", "chip.die", "-o", f"{name}/c.pimccap"),
            ("recover", image, "--calib", name, *QUICK),
        ):
            done = pimc(*command)
            assert done.code == 0, (command, done.err)
        found += ["--faults", f"{name}.r1.faults.csv"]
        session = Session(Image.load(image), die=Die.load("chip.die"))
        left.append(float(np.square(session.run(None, {"x": tiny_inputs})[0] - wanted).mean()))
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.5 * left[0], left


def test_all_files_are_written_and_no_others(job, recovered) -> None:
    assert names(job) == [
        "chip.die",
        "data",
        "tiny.onnx",
        "tiny.pimc",
        "tiny.r1.cells.csv",
        "tiny.r1.pimc",
        "tiny.r1.report.json",
    ]
    assert names(job / "data") == ["calib.npz", "test.npz"]


def test_model_and_image_stay_untouched(job, tiny_model, noisy, recovered) -> None:
    assert Path("tiny.onnx").read_bytes() == tiny_model().SerializeToString()
    assert Path("tiny.pimc").read_bytes() == noisy.to_bytes()


def test_the_next_image_on_the_saved_die_has_the_accuracy_told(pimc, job, recovered) -> None:
    test = ("--data", "data", "--die", "chip.die", "--json")
    found = pimc("eval", "tiny.r1.pimc", *test)
    assert found.code == 0, found.err
    assert found.json["accuracy_per_die"] == recovered["accuracy_after"]
    assert found.json["float_accuracy"] == recovered["float_accuracy"]
    # The die no longer holds the image it was programmed with.
    assert pimc("eval", "tiny.pimc", *test).code == 2
    ideal = pimc("eval", "tiny.pimc", "--data", "data", "--ideal", "--json")
    assert ideal.json["accuracy_mean"] == recovered["quantized_accuracy"]


def test_the_list_of_cells_leads_from_one_image_to_the_next(pimc, job, noisy, recovered) -> None:
    with open("tiny.r1.cells.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["array", "row", "col", "level_before", "level_after", "round"]
    assert len(rows) == recovered["cells_rewritten"]
    levels = noisy.levels.copy()
    for row in rows:
        at = tuple(int(row[key]) for key in ("array", "row", "col"))
        assert levels[at] == int(row["level_before"])
        levels[at] = int(row["level_after"])
    np.testing.assert_array_equal(levels, Image.load("tiny.r1.pimc").levels)

    done = pimc("diff", "tiny.pimc", "tiny.r1.pimc", "-o", "diff.csv", "--json")
    with open("diff.csv", newline="") as stream:
        changed = {
            tuple(int(row[key]) for key in ("array", "row", "col")): int(row["after"])
            for row in csv.DictReader(stream)
        }
    assert len(changed) == done.json["cells_changed"] == int((levels != noisy.levels).sum())
    assert all(levels[at] == level for at, level in changed.items())


def test_the_report_file_says_the_same(job, recovered) -> None:
    report = json.loads(Path("tiny.r1.report.json").read_text())
    assert [report] == recovered["dies"]
    assert report["die"] == "sim:7"
    assert report["measured_on_chip"] is True
    assert report["accuracy_after"] == recovered["accuracy_after"][0]
    assert sum(stage["cells_written"] for stage in report["stages"]) == report["cells_rewritten"]


def test_the_image_knows_where_it_comes_from(pimc, job, noisy, recovered) -> None:
    recovery = pimc("info", "tiny.r1.pimc", "--json").json["recovery"]
    assert recovery["parent"] == noisy.sha256
    assert recovery["die"] == "sim:7"


def test_same_seed_same_files(pimc, job, recovered) -> None:
    first = {name: Path(name).read_bytes() for name in ("tiny.r1.pimc", "tiny.r1.cells.csv")}
    die = Die.simulated(7)
    Session("tiny.pimc", die=die)
    die.save("again.die")
    done = pimc("recover", "tiny.pimc", "--calib", "data", "--die", "again.die",
                "--budget", 20, *QUICK, "-o", "again.pimc")  # fmt: skip
    assert done.code == 0, done.err
    assert Path("again.pimc").read_bytes() == first["tiny.r1.pimc"]
    assert Path("again.cells.csv").read_bytes() == first["tiny.r1.cells.csv"]
    assert Path("again.die").read_bytes() == Path("chip.die").read_bytes()


def test_the_next_round_starts_from_the_next_image(pimc, job, recovered) -> None:
    done = pimc("recover", "tiny.r1.pimc", "--calib", "data", "--data", "data",
                "--die", "chip.die", *QUICK, "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["accuracy_before"] == recovered["accuracy_after"]
    note = Image.load("tiny.r2.pimc").recovery
    assert note is not None
    assert note.parent == Image.load("tiny.r1.pimc").sha256


def test_without_labels_and_for_people(pimc, job) -> None:
    quick = ("--calib", "data/calib.npz", "--die", "chip.die", "--epochs", 0, "--rounds", 0)
    done = pimc("recover", *quick)
    assert done.code == 0
    assert "column gain and offset" in done.out
    assert "tiny.r1.pimc" in done.out
    quiet = pimc("recover", "tiny.r1.pimc", *quick, "--quiet", "--json")
    assert quiet.json["accuracy_before"] == quiet.json["accuracy_after"] == [None]
    assert quiet.json["float_accuracy"] is None


def test_a_capture_of_the_attached_die_is_taken(pimc, job, noisy, monkeypatch) -> None:
    write_capture(noisy, job / "data" / "bench.pimccap")
    taken: list[int] = []

    def counted(*arguments: Any, **options: Any) -> Iterator[tuple[int, LayerCapture]]:
        taken.append(1)
        return take(*arguments, **options)

    monkeypatch.setattr("pimc.passes.recover.steps.learning.layer_by_layer", counted)
    given = ("recover", "tiny.pimc", "--calib", "data", "--rounds", 0, "--epochs", 0)
    assert pimc(*given, "--die", "chip.die").code == 0
    assert taken == []
    # Of another die: that one is captured anew.
    assert pimc(*given, "--dies", 1, "--seed", 9).code == 0
    assert taken == [1]
