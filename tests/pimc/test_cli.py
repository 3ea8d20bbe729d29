"""The command line's manners: start-up, errors, exit codes, output, and the small commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from pimc.chip import Chip
from pimc.cli.main import COMMANDS, _Group, _pimc
from pimc.errors import DeviceError, ModelError
from pimc.image import Image

HEAVY = {"torch", "onnx", "onnxruntime", "onnx_ir", "scipy", "matplotlib", "numpy", "rich"}
PIMC = [sys.executable, "-c", "from pimc.cli import main; main()"]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_imports_nothing_heavy(argument) -> None:
    code = (
        "import sys; from pimc.cli.main import run\n"
        f"code = run(['{argument}'])\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = python(code)
    assert done.returncode == 0
    assert done.stdout
    assert not HEAVY & set(done.stderr.split())


def test_importing_pimc_is_light() -> None:
    done = python("import sys, pimc; print(*{n.partition('.')[0] for n in sys.modules})")
    assert not HEAVY & set(done.stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_has_help_and_the_common_options(name) -> None:
    done = CliRunner().invoke(_pimc, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert all(option in done.output for option in ("--json", "--seed", "--quiet"))


def test_help_lists_every_command(pimc) -> None:
    done = pimc()
    assert (done.code, done.err) == (0, "")
    assert all(f"  {name} " in done.out for name in COMMANDS)
    assert pimc("-h").out == done.out
    assert isinstance(_pimc, _Group)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compil"], "error: no such command 'compil' (did you mean compile?)"),
        (["compile"], "Missing argument 'MODEL'"),
        (["info", "--nothing"], "--nothing"),
        (["compile", "m.onnx", "--array", "128"], "'128' is not two whole numbers"),
        (["compile", "m.onnx", "--array", "0x5"], "'0x5' is not two whole numbers"),
        (["compile", "m.onnx", "--mapping", "odd"], "'odd' is not one of"),
        (["eval", "--data", "d", "--mean", "a,b"], "'a,b' is not a list of numbers"),
        (["eval", "--data", "d", "--dies", "0"], "0 is not in the range"),
        (["info", "--seed", "-1"], "-1 is not in the range"),
        (["chips", "--toml"], "--toml needs the name of a chip"),
        (["chips", "ih"], "no such chip (did you mean ihp?)"),
        (["compile", "m.onnx"], "m.onnx: no such file"),
        (["compile", "m.onnx", "--scale", "2"], "--scale given without --calib"),
        (["info"], "the current folder holds no .pimc file"),
        (["info", "gone.pimc"], "gone.pimc: no such file"),
        (["verify", "gone.pimc"], "gone.pimc: no such file"),
    ],
)
def test_bad_usage_is_one_message_with_a_hint_and_exit_code_2(
    pimc, here, arguments, message
) -> None:
    done = pimc(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.startswith("error: ")
    assert "\n  hint: " in done.err
    assert "Traceback" not in done.err
    as_json = pimc(*arguments, "--json")
    assert as_json.code == 2
    assert message.removeprefix("error: ") in as_json.err
    assert as_json.json["error"]["exit_code"] == 2
    assert as_json.json["error"]["hint"]
    assert list(here.iterdir()) == []


def raising(error: BaseException, monkeypatch) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(Chip, "shipped", fail)


#: What torch says.
NO_MEMORY = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)"
)


def wrapped(cause: Exception) -> Exception:
    """An error of the executor about an operator that failed for this reason."""
    error = ModelError("operator Conv failed", where="y")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (DeviceError("no answer", "lab", "switch it on"), 3, "error: lab: no answer\n  hint: swit"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (OSError(28, "No space left on device", "a.pimc"), 2, "error: a.pimc: No space left on d"),
        (MemoryError(), 2, "error: not enough memory\n"),
        (NO_MEMORY, 2, "error: not enough memory: you tried to allocate 9 bytes."),
        (wrapped(NO_MEMORY), 2, "error: not enough memory: you tried to allocate 9 bytes."),
        (RuntimeError("CUDA out of memory."), 2, "error: not enough memory: CUDA out of"),
        (RuntimeError("odd"), 2, "error: internal error: RuntimeError: odd\n  hint: PIMC_DEBUG=1"),
    ],
)
def test_every_failure_has_its_exit_code(pimc, monkeypatch, error, code, text) -> None:
    raising(error, monkeypatch)
    done = pimc("chips")
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(text)
    assert pimc("chips", "--json").json["error"]["exit_code"] == code


def test_debug_shows_the_traceback(pimc, monkeypatch) -> None:
    raising(RuntimeError("odd"), monkeypatch)
    monkeypatch.setenv("PIMC_DEBUG", "1")
    done = pimc("chips")
    assert done.code == 2
    assert "Traceback" in done.err
    assert "RuntimeError: odd" in done.err


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = " ".join(f"'{part}'" for part in PIMC)
    done = subprocess.run(
        ["bash", "-c", f'{command} chips neurram --json | true; echo "${{PIPESTATUS[0]}}"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "141")  # it may have been done before the reader left


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_a_full_disk_behind_stdout_is_one_message(option) -> None:
    with open("/dev/full", "w") as full:
        command = [*PIMC, "chips", option]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "error: No space left on device\n  hint: free space or choose another disk\n"
    )


def test_chips(pimc, tmp_path) -> None:
    listed = pimc("chips")
    assert all(name in listed.out for name in Chip.shipped())
    names = [entry["name"] for entry in pimc("chips", "--json").json["chips"]]
    assert names == list(Chip.shipped())
    for name in names:
        assert Chip.load(name).source in pimc("chips", name).out
    path = tmp_path / "own.toml"
    path.write_text(pimc("chips", "ihp", "--toml").out)
    assert Chip.load(path) == Chip.load("ihp")
    assert pimc("chips", path, "--json").json == Chip.load("ihp").to_dict()


def test_ops_and_devices(pimc) -> None:
    done = pimc("ops", "--markdown")
    assert done.out.startswith("| operator | where | condition or note |\n")
    assert "| Conv | array |" in done.out
    table = {row["op"]: row["where"] for row in pimc("ops", "--json").json["ops"]}
    assert (table["Gemm"], table["Relu"]) == ("array", "digital")
    assert "Gemm: on the array" in pimc("ops").out
    found = {entry["name"]: entry for entry in pimc("devices", "--json").json["devices"]}
    assert found["sim"]["available"]
    assert "sim" in pimc("devices").out


@pytest.fixture
def model(tiny_model, tiny_inputs, here):
    """A folder with tiny.onnx and calib.npz."""
    onnx.save(tiny_model(), "tiny.onnx")
    np.savez("calib.npz", x=tiny_inputs)
    return here


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
    assert image.arrays == len(image.tensors["tiles"])
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
    assert sorted(entry.name[3:] for entry in (model / "dump").iterdir()) == [
        "lower", "partition", "quantize", "simplify", "tile",
    ]  # fmt: skip
    assert "no pass is called" in pimc("compile", "tiny.onnx", "--stop-after", "weld").err


def test_the_model_is_never_overwritten(pimc, model) -> None:
    before = (model / "tiny.onnx").read_bytes()
    done = pimc("compile", "tiny.onnx", "-o", "tiny.onnx")
    assert done.code == 2
    assert "would replace the model" in done.err
    assert (model / "tiny.onnx").read_bytes() == before


def test_check_names_places_and_reasons(pimc, model, tiny_model) -> None:
    done = pimc("check", "tiny.onnx", "--digital", "w2", "--json")
    assert (done.code, done.json["ok"], done.json["array"]) == (0, True, 2)
    assert "w1: Conv" in pimc("check", "tiny.onnx").out
    odd = tiny_model()
    odd.graph.node[1].op_type = "Reluu"
    onnx.save(odd, "odd.onnx")
    done = pimc("check", "odd.onnx")
    assert done.code == 1
    assert "Reluu" in done.out
    assert pimc("check", "odd.onnx", "--json").json["refused"] == 1
    assert pimc("compile", "odd.onnx").code == 2


def test_image_is_found_where_it_is_the_only_one(pimc, model) -> None:
    assert pimc("compile", "tiny.onnx").code == 0
    assert pimc("info", "--json").json["image"] == "tiny.pimc"
    assert pimc("compile", "tiny.onnx", "-o", "other.pimc").code == 0
    done = pimc("info")
    assert done.code == 2
    assert "other.pimc, tiny.pimc" in done.err
    assert pimc("info", "other.pimc").code == 0


def test_broken_images_are_one_sentence(pimc, model) -> None:
    pimc("compile", "tiny.onnx")
    whole = (model / "tiny.pimc").read_bytes()
    for data in (b"", b"no image", whole[: len(whole) // 2], whole[:-9] + b"x" * 9):
        (model / "tiny.pimc").write_bytes(data)
        for command in (["info"], ["verify"], ["diff", "tiny.pimc", "tiny.pimc"]):
            done = pimc(*command)
            assert (done.code, done.out) == (2, "")
            assert done.err.startswith("error: tiny.pimc: ")


def test_diff(pimc, model) -> None:
    pimc("compile", "tiny.onnx", "--calib", "calib.npz", "-o", "a.pimc", "--array", "16x8")
    a = Image.load("a.pimc")
    levels = a.levels.copy()
    where = np.argwhere(a.used)[[3, 50, 200]]
    levels[tuple(where.T)] ^= 1
    a.updated(levels=levels, columns={1: {"bias": a.layers[1].bias + 1}}).save("b.pimc")

    same = pimc("diff", "a.pimc", "a.pimc", "--exit-code", "--json")
    assert (same.code, same.json["identical"], same.json["cells_changed"]) == (0, True, 0)
    done = pimc("diff", "a.pimc", "b.pimc", "--json", "-o", "cells.csv")
    assert done.code == 0
    assert done.json["cells_changed"] == done.json["cells_to_write"] == 3
    assert done.json["arrays_changed"] == len(set(where[:, 0].tolist()))
    assert done.json["digital"] == {"w2": ["bias"]}
    assert pimc("diff", "a.pimc", "b.pimc", "--exit-code").code == 1
    table = np.loadtxt("cells.csv", delimiter=",", skiprows=1, dtype=int)
    np.testing.assert_array_equal(table[:, :3], where)
    np.testing.assert_array_equal(table[:, 3] ^ 1, table[:, 4])
    text = pimc("diff", "a.pimc", "b.pimc").out
    assert "3 cells" in text
    assert "w2" in text

    pimc("compile", "tiny.onnx", "-o", "c.pimc", "--array", "8x8")
    done = pimc("diff", "a.pimc", "c.pimc")
    assert done.code == 2
    assert "different chips" in done.err


def test_verify(pimc, model, tiny_model) -> None:
    pimc("compile", "tiny.onnx", "--calib", "calib.npz")
    done = pimc("verify", "--json")
    assert done.code == 0
    assert done.json["ok"]
    assert done.json["first_diverging_layer"] is None
    assert done.json["max_abs_error"] < 1e-2
    assert done.json["model"] == "tiny.onnx"
    assert pimc("verify", "--data", "calib.npz", "--samples", "7").out.startswith("ok: 3 layers")
    onnx.save(tiny_model(seed=9), "other.onnx")
    wrong = pimc("verify", "--model", "other.onnx")
    assert wrong.code == 1
    assert "against the source model" in wrong.out
    (model / "tiny.onnx").write_bytes((model / "other.onnx").read_bytes())
    # Another model under the recorded name is not the source.
    assert pimc("verify", "--json").json["model"] is None


def test_json_is_one_line_that_parses_for_every_image_command(pimc, model) -> None:
    pimc("compile", "tiny.onnx", "--calib", "calib.npz")
    for command in (["info"], ["verify"], ["diff", "tiny.pimc", "tiny.pimc"]):
        done = pimc(*command, "--json")
        assert done.out.count("\n") == 1
        assert isinstance(json.loads(done.out), dict)
