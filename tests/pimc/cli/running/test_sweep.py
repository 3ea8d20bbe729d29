"""``pimc sweep``, and ``pimc eval`` with workers."""

from __future__ import annotations

import csv
import socket

import numpy as np
import onnx
import pytest

from pimc import api
from pimc.api import compile
from pimc.chip.design import Chip
from pimc.chip.elements import seen_by_compiler
from pimc.data.dataset import load_data
from pimc.runtime.session import Session
from pimc.studies import sweep
from pimc.studies.evaluate import Batches
from pimc.studies.montecarlo import measure_die, measure_dies
from pimc.work import cluster


@pytest.fixture
def files(tiny_model, tiny_image, tiny_inputs, here):
    """Model, calibration data and labelled data in the current folder."""
    onnx.save(tiny_model(), "tiny.onnx")
    np.savez("calib.npz", x=tiny_inputs)
    labels = Session(tiny_image).run(None, {"x": tiny_inputs})[0].argmax(axis=1)
    np.savez("data.npz", x=tiny_inputs, y=labels)
    return here


@pytest.fixture
def counted(monkeypatch):
    """Fingerprints of the chips that are compiled for."""
    calls = []

    def compile_and_count(model, chip, **options):
        calls.append(chip.fingerprint)
        return compile(model, chip, **options)

    monkeypatch.setattr(api, "compile", compile_and_count)
    return calls


ALWAYS = ("sweep", "tiny.onnx", "--calib", "calib.npz", "--data", "data.npz", "--dies", "3")


def rows(path="tiny.sweep.csv") -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_one_row_a_point_and_what_it_says(pimc, files, tiny_inputs) -> None:
    grid = ("--over", "levels=8,16", "--over", "array=16x8,32x32")
    done = pimc(*ALWAYS, *grid, "--seed", "4", "--json")
    assert (done.code, done.err) == (0, "")
    data = done.json
    assert (data["points"], data["measured"], data["failed"]) == (4, 4, 0)
    assert data["pictures"] == ["tiny.sweep.levels.png", "tiny.sweep.array.png"]
    for name in data["pictures"]:
        assert (files / name).read_bytes().startswith(b"\x89PNG")
    again = pimc(*ALWAYS, *grid, "--seed", "4", "--picture", "pictures.svg", "--json").json
    assert (again["measured"], again["pictures"]) == (
        0,
        ["pictures.levels.svg", "pictures.array.svg"],
    )
    for name in again["pictures"]:
        assert "<svg" in (files / name).read_text()
    refused = pimc(*ALWAYS, *grid, "--picture", "pictures.pdf")
    assert refused.code == 2
    assert "a picture is called .png or .svg" in refused.err
    assert [(row["levels"], row["array"]) for row in rows()] == [
        ("8", "16x8"), ("8", "32x32"), ("16", "16x8"), ("16", "32x32"),
    ]  # fmt: skip

    chip = Chip.default().with_levels(8).with_array(16, 8)
    image = compile("tiny.onnx", chip, calib=load_data("calib.npz"))
    trials = measure_dies(image, Batches(load_data("data.npz")), (4, 5, 6))
    first = data["rows"][0]
    assert first["accuracy_per_die"] == [trial.accuracy for trial in trials]
    assert first["accuracy_mean"] == pytest.approx(np.mean(first["accuracy_per_die"]))
    assert first["accuracy_std"] == pytest.approx(np.std(first["accuracy_per_die"], ddof=1))
    assert first["accuracy_low"] <= first["accuracy_mean"] <= first["accuracy_high"]
    assert first["image_sha256"] == image.sha256
    assert first["point_sha256"] == chip.fingerprint
    assert (first["dies"], first["seed"], first["samples"]) == (3, 4, 64)
    image.save("same.pimc")
    info = pimc("info", "same.pimc", "--json").json
    for column, key in [
        ("arrays", "arrays_used"), ("cells", "cells_used"), ("read_steps", "read_steps"),
        ("energy_pj", "energy_pj"), ("latency_ns", "latency_ns"),
    ]:  # fmt: skip
        assert first[column] == info[key]
    evaluated = pimc(
        "eval", "same.pimc", "--data", "data.npz", "--dies", "3", "--seed", "4", "--json"
    )
    assert first["float_accuracy"] == evaluated.json["float_accuracy"] == data["float_accuracy"]
    text = pimc(*ALWAYS, *grid, "--seed", "4").out
    assert "float" in text
    assert "a point  3 dies, 64 samples, interval over both\n" in text
    low, high = first["accuracy_low"], first["accuracy_high"]
    assert f" {100 * low:.2f} to {100 * high:.2f} % " in text
    assert (data["dies"], data["samples"]) == (3, 64)


def test_finished_points_are_not_measured_again(pimc, files, counted) -> None:
    assert pimc(*ALWAYS, "--over", "levels=8,16").code == 0
    before = (files / "tiny.sweep.csv").read_bytes()
    assert len(counted) == 2
    again = pimc(*ALWAYS, "--over", "levels=8,16", "--json").json
    assert (again["points"], again["measured"], len(counted)) == (2, 0, 2)
    assert (files / "tiny.sweep.csv").read_bytes() == before
    # A larger grid, which meets one of the points over another parameter: 8 bits is the default.
    wider = pimc(*ALWAYS, "--over", "levels=8,32", "--over", "adc.bits=6,8", "--json").json
    assert (wider["points"], wider["measured"]) == (4, 3)
    assert [(row["levels"], row["adc.bits"]) for row in rows()] == [
        ("16", ""), ("8", "6"), ("8", "8"), ("32", "6"), ("32", "8"),
    ]  # fmt: skip
    kept = {row["point_sha256"]: row["accuracy_per_die"] for row in rows()}
    assert all(kept[row["point_sha256"]] == row["accuracy_per_die"] for row in rows())
    # Other dies are other points.
    more = pimc(*ALWAYS, "--over", "levels=16", "--seed", "7", "--json").json
    assert (more["measured"], len(rows())) == (1, 6)


def test_dies_are_read_as_they_are_for_eval(pimc, files) -> None:
    grid = ("--chip", "cmo", "--over", "array=16x8")
    fresh = pimc(*ALWAYS, *grid, "--json").json["rows"][0]
    aged = pimc(*ALWAYS, *grid, "--age", "1y", "--ir-drop", "exact", "--json").json
    assert (aged["measured"], aged["rows"][0]["ir_drop"], len(rows())) == (1, "exact", 2)
    compile("tiny.onnx", Chip.load("cmo").with_array(16, 8), calib=load_data("calib.npz")).save(
        "cmo.pimc"
    )
    reading = ("--age", "1y", "--ir-drop", "exact")
    wanted = pimc("eval", "--data", "data.npz", "--dies", "3", *reading, "--json").json
    assert aged["rows"][0]["age_s"] == wanted["age_s"] > 3e7
    assert aged["rows"][0]["accuracy_per_die"] == wanted["accuracy_per_die"]
    assert fresh["accuracy_per_die"] != wanted["accuracy_per_die"]
    # No cell of this chip is read as younger than a second, whoever reads it.
    young = pimc("eval", "--data", "data.npz", "--dies", "3", "--json").json
    assert fresh["age_s"] == young["age_s"] == 1.0
    assert fresh["accuracy_per_die"] == young["accuracy_per_die"]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_an_interrupted_sweep_goes_on(pimc, files, counted, monkeypatch, name) -> None:
    grid = ("--over", "levels=4,8,16", "-o", name)
    original = measure_die
    calls = []

    def cut(*arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(sweep, "measure_die", cut)
    done = pimc(*ALWAYS, *grid)
    assert (done.code, done.out) == (130, "")
    assert not (files / name).exists()
    assert (files / f"{name}.journal").read_bytes().count(b"\n") == 1
    assert len(counted) == 2
    monkeypatch.setattr(sweep, "measure_die", original)
    resumed = pimc(*ALWAYS, *grid, "--json").json
    assert (resumed["measured"], len(counted)) == (2, 4)
    assert not (files / f"{name}.journal").exists()
    whole = pimc(*ALWAYS, "--over", "levels=4,8,16", "-o", "whole.csv", "--json").json
    for ours, theirs in zip(resumed["rows"], whole["rows"], strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}


def test_points_that_cannot_be_compiled_become_rows(pimc, files) -> None:
    grid = ("--over", "array=1x1,16x8", "--over", "hierarchy.cores=1", "--over",
            "hierarchy.arrays_per_core=20")  # fmt: skip
    done = pimc(*ALWAYS, *grid, "--json")
    assert (done.code, done.json["failed"]) == (0, 1)
    bad, good = done.json["rows"]
    assert "the chip has 20" in bad["error"]
    assert (bad["accuracy_mean"], bad["accuracy_per_die"], bad["image_sha256"]) == (None, [], "")
    assert good["error"] == ""
    assert good["accuracy_mean"] > 0
    text = pimc(*ALWAYS, *grid)
    assert "not compiled  1: tiny.onnx: the network needs" in text.out
    only = pimc(*ALWAYS, "--over", "array=1x1", "--over", "hierarchy.cores=1", "--over",
                "hierarchy.arrays_per_core=20", "-o", "only.csv", "--json")  # fmt: skip
    assert (only.code, only.json["failed"], only.json["pictures"]) == (0, 1, [])


def test_chips_that_differ_in_their_dies_only_are_compiled_once(pimc, files, counted) -> None:
    plain = Chip.default()
    parameters = [
        f"{table}.{key}"
        for table, values in plain.to_dict().items()
        if isinstance(values, dict)
        for key, value in values.items()
        if isinstance(value, float)
        and key != "net_stress"
        and seen_by_compiler(plain.with_(**{f"{table}.{key}": value + 0.001}))
        == seen_by_compiler(plain)
    ]
    assert len(parameters) >= 8
    grid = [part for name in parameters for part in ("--over", f"{name}=0.001")]
    swept = ("--over", "levels=8,16", "--over", "read_noise.relative=0,0.1")
    grid = [part for part in grid if "read_noise.relative" not in part]
    grid = [
        part
        for part, before in zip(grid, ["", *grid], strict=False)
        if part != "--over" or before != "--over"
    ]
    done = pimc(*ALWAYS, *swept, *grid, "--dies", "1", "--json").json
    assert len(counted) == 2
    for row in done["rows"]:
        chip = Chip.default().with_levels(row["levels"])
        chip = chip.with_(**{n: v for n, v in row.items() if n in parameters})
        fresh = compile("tiny.onnx", chip, calib=load_data("calib.npz"))
        assert row["image_sha256"] == fresh.sha256


def test_workers_find_the_same(pimc, files, tiny_image) -> None:
    grid = ("--over", "levels=8,16", "--over", "sigma=0.02,0.1")
    alone = pimc(*ALWAYS, *grid, "-o", "one.csv", "--json").json["rows"]
    two = pimc(*ALWAYS, *grid, "-o", "two.csv", "--json", "--jobs", "2").json["rows"]
    for ours, theirs in zip(alone, two, strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
    tiny_image.save("tiny.pimc")
    measured = ("eval", "--data", "data.npz", "--dies", "4", "--json")
    one, two = pimc(*measured).json, pimc(*measured, "--jobs", "2").json
    other = {"images_per_second": 0, "command_line": ""}
    assert {**one, **other} == {**two, **other}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "Missing option '--over'"),
        (["--over", "level=8"], 2, "did you mean levels?"),
        (["--over", "levels=8,1"], 2, "cell.levels"),
        (["--over", "levels=8", "--over", "levels=16"], 2, "levels is given twice"),
        (["--over", "levels=8", "--chip", "nemo"], 2, "no such chip"),
        (["--over", "levels=8", "-o", "a.xlsx"], 2, "neither .csv nor .parquet"),
        (["--over", "levels=8", "-o", "no/a.csv"], 2, "no such folder"),
        (["--over", "levels=8", "-o", "data.csv"], 2, "is not the file of a sweep"),
        (["--over", "levels=8", "--jobs", "0"], 2, "--jobs"),
        (["--over", "levels=8", "--jobs", "2", "--cluster", "tcp://h:1"], 2, "exclude each other"),
        (["--over", "levels=8", "--calib", "gone.npz"], 2, "gone.npz"),
        (["--over", "levels=8", "--data", "calib.npz"], 2, "has no labels"),
    ],
)
def test_bad_input_is_one_sentence(pimc, files, arguments, code, words) -> None:
    (files / "data.csv").write_text("a,b\n1,2\n")
    before = {entry.name for entry in files.iterdir()}
    done = pimc(*ALWAYS, *arguments)
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert "Traceback" not in done.err
    assert {entry.name for entry in files.iterdir()} == before


def test_a_file_of_another_sweep_is_refused(pimc, files, tiny_model) -> None:
    assert pimc(*ALWAYS, "--over", "levels=8", "-o", "a.csv", "--dies", "1").code == 0
    before = (files / "a.csv").read_bytes()
    onnx.save(tiny_model(seed=1), "tiny.onnx")
    for arguments, what in [([], "model"), (["--chip", "cmo"], "model")]:
        done = pimc(*ALWAYS, "--over", "levels=8", "-o", "a.csv", *arguments)
        assert f"a.csv: holds a sweep with another {what}" in done.err
    onnx.save(tiny_model(), "tiny.onnx")
    for arguments, what in [
        (["--chip", "cmo"], "chip"), (["--limit", "9"], "data"), (["--scale", "2"], "calibration"),
    ]:  # fmt: skip
        done = pimc(*ALWAYS, "--over", "levels=8", "-o", "a.csv", *arguments)
        assert (done.code, done.out) == (2, "")
        assert f"a.csv: holds a sweep with another {what}" in done.err
    assert (files / "a.csv").read_bytes() == before


def test_a_model_that_no_chip_can_run_is_refused_at_once(pimc, files, counted) -> None:
    node = onnx.helper.make_node("Frobnicate", ["x"], ["y"], domain="com.example")
    ends = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["N", 4]) for n in "xy"]
    graph = onnx.helper.make_graph([node], "odd", ends[:1], ends[1:])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.example", 1)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets), "tiny.onnx")
    done = pimc(*ALWAYS, "--over", "levels=8")
    assert (done.code, counted) == (2, [])
    assert "Frobnicate" in done.err


def test_a_scheduler_that_nobody_reaches(pimc, files, tiny_image, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 1.0)
    tiny_image.save("tiny.pimc")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    for arguments in (
        ("eval", "--data", "data.npz", "--cluster", nobody),
        (*ALWAYS, "--over", "levels=8", "--cluster", nobody),
    ):
        done = pimc(*arguments)
        assert (done.code, done.out) == (3, "")
        assert f"{nobody}: no Dask scheduler answers" in done.err
    for option in (("--ideal",), ("--device", "replay"), ("--die", "a.die")):
        done = pimc("eval", "--data", "data.npz", "--jobs", "2", *option)
        assert (done.code, done.out) == (2, "")
        assert "are for dies drawn from the seed" in done.err
