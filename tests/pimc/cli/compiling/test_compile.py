"""``pimc compile``."""

from __future__ import annotations

import networkx as nx
import numpy as np
import onnx
import pytest

from pimc.chip.design import Chip
from pimc.image.image import Image
from pimc.passes.stages import STAGES
from tests.passes.rotate.transformer_nets import llama_like, tokens


def test_compile_writes_the_image_and_tells_the_contracts_keys(pimc, model) -> None:
    done = pimc("compile", "tiny.onnx", "--array", "16x8", "--calib", "calib.npz", "--json")
    assert done.code == 0
    assert done.err == ""
    data = done.json
    image = Image.load("tiny.pimc")
    assert data["output"] == "tiny.pimc"
    assert data["arrays_used"] == image.arrays
    assert data["cells_used"] == image.used.sum() == 6 * 18 + 2 * 27 * 4 + 8 * 4
    assert data["cell_utilization"] == data["cells_used"] / (image.arrays * 16 * 8)
    assert [layer["name"] for layer in data["layers"]] == ["w1", "w2", "w3"]
    assert {"name", "op", "rows", "cols", "groups", "tiles", "arrays"} <= data["layers"][0].keys()
    assert [layer["tiles"] for layer in data["layers"]] == [2, 4, 1]
    assert [layer["positions"] for layer in data["layers"]] == [16, 16, 1]
    # A step reads an array at most once: never fewer steps than tiles of different inputs.
    assert data["arrays_used"] <= data["read_steps"] <= 7
    assert data["seconds"] > 0
    assert data["peak_rss_mb"] > 10
    assert data["calibrated"]
    info = pimc("info", "--json").json
    shared = data.keys() & info.keys()
    assert {key: data[key] for key in shared} == {key: info[key] for key in shared}


def test_two_compiles_give_the_same_bytes(pimc, model) -> None:
    for name in ("a.pimc", "b.pimc"):
        assert pimc("compile", "tiny.onnx", "--calib", "calib.npz", "-o", name, "-q").code == 0
    assert (model / "a.pimc").read_bytes() == (model / "b.pimc").read_bytes()


def test_keys_of_the_chip_can_be_set(pimc, model) -> None:
    done = pimc(
        "compile", "tiny.onnx", "--array", "16x8", "--mapping", "differential", "--pair", "rows",
        "--set", "adc.bits=6", "--set", "adc.range=fixed", "--set", "adc.full_scale_us=80",
        "--set", "array.rows=12", "--calib", "calib.npz", "-o", "o.pimc", "--json",
    )  # fmt: skip
    assert done.code == 0
    chip = Image.load("o.pimc").chip
    assert (chip.mapping.pair, chip.adc.bits, chip.adc.full_scale_us) == ("rows", 6, 80.0)
    assert (chip.array.rows, chip.array.cols) == (12, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "adc.bts=6"], "unknown key (did you mean bits?)"),
        (["--set", "adc.bits=six"], "adc.bits: must be a whole number"),
        (["--set", "adc.bits"], "is not KEY=VALUE"),
        (["--set", "adc=6"], "adc: must be a table"),
        (["--pair", "rows"], "differential"),
    ],
)
def test_keys_that_do_not_fit_are_refused(pimc, model, options, message) -> None:
    done = pimc("compile", "tiny.onnx", *options, "-o", "o.pimc")
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not (model / "o.pimc").exists()


def test_compile_options_reach_the_image(pimc, model) -> None:
    done = pimc(
        "compile", "tiny.onnx", "--array", "32x16", "--chip", "ihp", "--levels", "4",
        "--mapping", "differential", "--packing", "single", "--digital", "w3", "--no-teacher",
        "--calib", "calib.npz", "--scale", "2", "-o", "o.pimc", "--json",
    )  # fmt: skip
    assert done.code == 0
    image = Image.load("o.pimc")
    assert (image.chip.array.rows, image.chip.array.cols) == (32, 16)
    assert (image.chip.cell.levels, image.chip.mapping.kind) == (4, "differential")
    assert [layer.name for layer in image.layers] == ["w1", "w2"]
    assert image.layers[0].teacher_weight is None
    assert image.arrays == len(image.tiles)
    # Half as large inputs need a range about half as wide.
    pimc("compile", "tiny.onnx", "--calib", "calib.npz", "-o", "p.pimc")
    wide, narrow = (i.layers[0].input_scale for i in (Image.load("p.pimc"), image))
    assert wide is not None
    assert narrow is not None
    assert 1.5 < wide / narrow < 2.5


def test_compile_summary_fits_a_screen_and_quiet_drops_it(pimc, model, monkeypatch) -> None:
    monkeypatch.setenv("LINES", "12")
    monkeypatch.setenv("COLUMNS", "100")
    done = pimc("compile", "tiny.onnx")
    assert "w1" in done.out
    assert "not calibrated" in done.out
    assert done.out.count("\n") < 24
    quiet = pimc("compile", "tiny.onnx", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_stop_after_writes_no_image_but_the_dump(pimc, model) -> None:
    done = pimc("compile", "tiny.onnx", "--stop-after", "tile", "--dump-dir", "dump")
    assert done.code == 0
    assert "no image was written" in done.out
    assert not (model / "tiny.pimc").exists()
    names = [stage.name for stage in STAGES[1:] if not stage.optional]
    found = [entry.name[3:] for entry in sorted((model / "dump").iterdir())]
    assert found == names[: names.index("tile") + 1]
    flow = nx.read_graphml(next((model / "dump").glob("*-tile")) / "layers.graphml")
    assert list(flow.edges) == [("w1", "w2"), ("w2", "w3")]
    assert not list((model / "dump").glob("*-lower/layers.graphml"))
    assert "no pass is called" in pimc("compile", "tiny.onnx", "--stop-after", "weld").err


def test_the_model_is_never_overwritten(pimc, model) -> None:
    before = (model / "tiny.onnx").read_bytes()
    done = pimc("compile", "tiny.onnx", "-o", "tiny.onnx")
    assert done.code == 2
    assert "would replace the model" in done.err
    assert (model / "tiny.onnx").read_bytes() == before


def test_compile_spends_arrays_on_copies(pimc, model) -> None:
    done = pimc("compile", "tiny.onnx", "--array", "16x8", "--copies", "40", "--json")
    assert done.code == 0, done.err
    alone = pimc("compile", "tiny.onnx", "--array", "16x8", "-o", "one.pimc", "--json").json
    copied = done.json
    assert alone["arrays_used"] < copied["arrays_used"] <= 40
    assert copied["latency_ns"] < alone["latency_ns"] / 2
    assert copied["options"]["packing"] == "parallel"
    few = pimc("compile", "tiny.onnx", "--array", "16x8", "--copies", "6")
    assert few.code == 2
    assert "one copy of every layer takes" in few.err


@pytest.mark.parametrize("packing", ["0", "-1", "thin", "1.5"])
def test_packing_that_is_none(pimc, model, packing: str) -> None:
    done = pimc("compile", "tiny.onnx", "--packing", packing)
    assert done.code == 2
    assert "is none of dense, parallel, single or a whole number above 0" in done.err


def test_what_is_larger_than_the_chip_is_refused_or_cut(pimc, model) -> None:
    chip = ("--array", "16x8", "--set", "hierarchy.cores=1", "--set", "hierarchy.arrays_per_core=3")
    refused = pimc("compile", "tiny.onnx", *chip)
    assert refused.code == 2
    assert "arrays and the chip has 3" in refused.err
    assert "--phases" in refused.err
    done = pimc("compile", "tiny.onnx", *chip, "--phases", "--json")
    assert done.code == 0
    assert done.json["phases"] == len(Image.load("tiny.pimc").phases) > 1
    assert done.json["reprogramming"]["cells"] == done.json["cells_used"]
    pulses = done.json["cells_used"] * Chip.default().programming.pulses_per_cell
    seconds = pulses * Chip.default().programming.pulse_ns * 1e-9
    assert done.json["reprogramming"]["seconds"] == pytest.approx(seconds)
    assert "writing all of them once" in pimc("info", "tiny.pimc").out


def test_write_noise_narrows_the_ranges_of_weights(pimc, model) -> None:
    for share in ("0", "1"):
        done = pimc("compile", "tiny.onnx", "--write-noise", share, "-o", f"{share}.pimc", "--json")
        assert done.json["options"]["write_noise"] == float(share)
    wide, narrow = (
        sum(float(layer.scale.sum()) for layer in Image.load(f"{share}.pimc").layers)
        for share in ("0", "1")
    )
    assert narrow < wide
    refused = pimc("compile", "tiny.onnx", "--write-noise", "1.5")
    assert refused.code == 2
    assert "--write-noise" in refused.err


@pytest.mark.parametrize("option", ["--write-noise", "--max-drop", "--digital-price"])
def test_numbers_that_are_none_are_refused(pimc, model, option: str) -> None:
    done = pimc("compile", "tiny.onnx", "--calib", "calib.npz", option, "nan", "-o", "o.pimc")
    assert (done.code, done.out) == (2, "")
    assert f"'{option}': 'nan' is not a number" in done.err
    assert not (model / "o.pimc").exists()


def test_learned_rounding_says_what_it_gained(pimc, model) -> None:
    done = pimc("compile", "tiny.onnx", "--calib", "calib.npz", "--learn-rounding", "-o", "l.pimc")
    assert done.code == 0
    assert "note: learned rounding: loss on held-out calibration data" in done.err
    assert "learn " in done.out
    pimc("compile", "tiny.onnx", "--calib", "calib.npz", "-o", "p.pimc")
    learned, plain = Image.load("l.pimc"), Image.load("p.pimc")
    assert len(learned.options["learn_rounding"]) == 1
    assert "learn_rounding" not in plain.options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--learn-rounding"], "trains on calibration data"),
        (["--learn-rounding", "--harden", "--calib", "calib.npz"], "trains all weights anew"),
        (["--learn-rounding", "--max-drop", "1", "--calib", "calib.npz"], "does not go with"),
    ],
)
def test_learned_rounding_that_cannot_be(pimc, model, options, message) -> None:
    done = pimc("compile", "tiny.onnx", *options, "-o", "o.pimc")
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not (model / "o.pimc").exists()


def test_a_transformer_is_rotated_and_its_rows_are_split(pimc, here) -> None:
    onnx.save(llama_like(), "llama.onnx")
    np.savez("calib.npz", x=tokens(16))
    done = pimc(
        "compile", "llama.onnx", "--array", "16x16", "--calib", "calib.npz", "--rotate",
        "--split-rows", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    options = Image.load("llama.pimc").options
    assert (options["rotate"], options["split_rows"]) == (True, True)
    names = [layer["name"] for layer in done.json["layers"]]
    # Of a block's layers the last is taller than an array.
    assert sum(name.endswith("/rows1") for name in names) == 2
    assert pimc("program", "llama.pimc", "--die", "x.die", "--seed", "900").code == 0
    done = pimc(
        "eval", "llama.pimc", "--die", "x.die", "--data", "calib.npz", "--task", "embedding"
    )
    assert done.code == 0, done.err


def test_what_cannot_be_rotated_or_split_is_refused(pimc, model) -> None:
    done = pimc("compile", "tiny.onnx", "--calib", "calib.npz", "--rotate")
    assert done.code == 2
    assert "no channels can be rotated" in done.err
    done = pimc("compile", "tiny.onnx", "--split-rows")
    assert done.code == 2
    assert "calibration data" in done.err


def test_ranges_of_adcs_by_layer(pimc, model) -> None:
    options = ("compile", "tiny.onnx", "--array", "16x8", "--calib", "calib.npz")
    done = pimc(*options, "--adc-range", "percentile:100", "--adc-range", "w2=mse", "--json")
    assert done.code == 0, done.err
    image = Image.load("tiny.pimc")
    assert image.options["adc_range"] == {"w2": "mse"}
    assert image.chip.adc.range_method == "percentile"
    for wrong, message in (("w2=rows", "is not understood"), ("=mse", "names no layer"),
                           ("w2=column", "share the range")):  # fmt: skip
        refused = pimc(*options, "--adc-range", wrong)
        assert refused.code == 2
        assert message in refused.err
