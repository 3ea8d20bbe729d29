"""The command line's manners: start-up, errors, exit codes, output, and the small commands."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pimc.chip.design import Chip
from pimc.cli.main import COMMANDS, _Group, _pimc
from pimc.errors import DeviceError, ModelError

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
