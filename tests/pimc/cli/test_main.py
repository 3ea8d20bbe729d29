"""The command line's manners: start-up, help, bad usage, and what stands behind stdout."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pimc.cli.main import _pimc
from pimc.cli.registry import ROOMS, commands

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


def imported(*lines: list[str]) -> set[str]:
    """The modules that running these commands one after the other imports."""
    code = (
        "import sys; from pimc.cli.main import run\n"
        f"codes = [run(line) for line in {lines!r}]\n"
        "print(*sys.modules, file=sys.stderr)\n"
        "sys.exit(max(codes))"
    )
    done = python(code)
    assert done.returncode == 0
    assert done.stdout
    return set(done.stderr.split())


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_imports_nothing_heavy_and_no_command(argument) -> None:
    modules = imported([argument])
    assert not HEAVY & {name.partition(".")[0] for name in modules}
    assert not {f"pimc.cli.{room}" for room in ROOMS} & modules


def test_help_of_a_command_imports_nothing_heavy() -> None:
    modules = imported(*([name, "--help"] for name in commands()))
    assert not HEAVY & {name.partition(".")[0] for name in modules}


def test_a_command_imports_no_other() -> None:
    modules = imported(["devices", "--help"])
    assert {name for name in modules if name.startswith("pimc.cli.listing.")} == {
        "pimc.cli.listing.devices"
    }


#: Of every command that reads an image or data: what is wrong is told without these.
SLOW = {"torch", "numba", "onnxruntime"}


def test_what_is_wrong_is_told_before_anything_slow_is_imported(tiny_image, tmp_path) -> None:
    image, other = tmp_path / "a.pimc", tmp_path / "b.pimc"
    for path in (image, other):
        tiny_image.save(path)
    wrong = [
        *([command, str(image), option, str(given)]
          for command, option in (
              ("eval", "--data"), ("verify", "--data"), ("run", "--input"),
              ("recover", "--calib"), ("capture", "--calib"))
          for given in (other, tmp_path / "gone")),
        ["recover", str(image), "--calib", str(other), "--data", str(other)],
        ["sweep", str(image), "--data", str(other), "--over", "levels=8"],
        ["eval", str(tmp_path / "gone.pimc"), "--data", str(other)],
        ["program", str(tmp_path / "gone.pimc"), "--die", "a.die"],
        ["verify", str(tmp_path / "gone.pimc")],
        ["zoo", "run", "no-such-network"],
    ]  # fmt: skip
    done = python(
        "import sys; from pimc.cli.main import run\n"
        f"for line in {wrong!r}:\n"
        "    code = run(line)\n"
        "    print(code, *line[:1], *sorted(sys.modules), sep=' ')\n"
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines] == [["2", line[0]] for line in wrong], done.stderr
    assert done.stderr.count("error: ") == len(wrong)
    for line in lines:
        assert not SLOW & set(line[2:]), line[1]


def test_importing_pimc_is_light() -> None:
    done = python("import sys, pimc; print(*{n.partition('.')[0] for n in sys.modules})")
    assert not HEAVY & set(done.stdout.split())


@pytest.mark.parametrize("name", commands())
def test_every_command_has_help_and_the_common_options(called, name) -> None:
    for command in called(name):
        done = CliRunner().invoke(_pimc, [*command.split(), "--help"])
        assert done.exit_code == 0, done.output
        assert all(option in done.output for option in ("--json", "--seed", "--quiet"))


def test_help_lists_every_command(pimc) -> None:
    done = pimc()
    assert (done.code, done.err) == (0, "")
    assert all(f"  {entry.name} " in done.out for entry in commands().values())
    assert all(entry.summary in done.out for entry in commands().values())
    assert all(f"\n{heading}:\n" in done.out for heading in ROOMS.values())
    assert pimc("-h").out == done.out


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
