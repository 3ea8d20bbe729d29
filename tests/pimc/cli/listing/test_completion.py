"""``pimc completion``: what a shell gets when a line is completed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CODE = "from pimc.cli import main; main()"


def answered(folder: Path, *words: str) -> list[str]:
    """What bash is told for a line whose last word is being typed."""
    asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, **asked, "_PIMC_COMPLETE": "bash_complete"},
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["pimc", "rec"], ["plain,recover"]),
        (["pimc", "chips", "im"], ["file,im", "plain,import"]),
        (["pimc", "compile", "--cali"], ["plain,--calib"]),
        (["pimc", "compile", "--chip", "neu"], ["file,neu", "plain,neurram"]),
        (["pimc", "chips", "ih"], ["file,ih", "plain,ihp"]),
        (["pimc", "sweep", "--chip", "neu"], ["file,neu", "plain,neurram"]),
        (["pimc", "init", "--chip", "neu"], ["file,neu", "plain,neurram"]),
        (["pimc", "zoo", "l"], ["plain,list"]),
        (["pimc", "zoo", ""], ["plain,get", "plain,list", "plain,run"]),
        (["pimc", "zoo", "get", "digits-"], ["plain,digits-autoencoder", "plain,digits-cnn"]),
        (["pimc", "zoo", "run", "mag"], ["plain,magika"]),
        (["pimc", "recover", "--strategy", "se"], ["plain,selective"]),
        (["pimc", "recover", "--device", "re"], ["plain,replay"]),
        (["pimc", "eval", "--task", "cl"], ["plain,classification"]),
        (["pimc", "init", "--task", "se"], ["plain,segmentation"]),
        (["pimc", "compile", "--pair", "ro"], ["plain,rows"]),
        (["pimc", "compile", "mod"], ["file,mod"]),
        (["pimc", "completion", "f"], ["plain,fish"]),
        (["pimc", "nothing", "--x"], []),
    ],
)
def test_a_word_is_completed(tmp_path, words, told) -> None:
    assert answered(tmp_path, *words) == told


@pytest.fixture
def program(tmp_path) -> Path:
    """A folder with a program called pimc."""
    program = tmp_path / "bin" / "pimc"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{CODE}" "$@"\n')
    program.chmod(0o755)
    return program.parent


def test_bash_completes_with_the_script(pimc, program, tmp_path) -> None:
    lines = """
eval "$SCRIPT"
complete -p pimc >/dev/null || exit 1
COMP_WORDS=(pimc comp); COMP_CWORD=1; _pimc_completion pimc; echo "${COMPREPLY[@]}"
compopt() { :; }  # bash has it only while it completes
COMP_WORDS=(pimc compile --chip neu); COMP_CWORD=3; _pimc_completion pimc; echo "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        ["bash", "-c", lines],
        env={**os.environ, "SCRIPT": pimc("completion", "bash").out,
             "PATH": f"{program}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.split("\n")[:2] == ["compile compensate completion", "neurram"], done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_of_its_shell(pimc, tmp_path, shell) -> None:
    done = pimc("completion", shell)
    assert done.code == 0
    assert f"_PIMC_COMPLETE={shell}_complete" in done.out
    assert pimc("completion", shell, "--json").json == {"shell": shell, "script": done.out.strip()}
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed to look at the syntax")
    script = tmp_path / "script"
    script.write_text(done.out)
    subprocess.run([shell, "-n", str(script)], check=True)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_with_the_script(pimc, program, tmp_path) -> None:
    (tmp_path / "script.fish").write_text(pimc("completion", "fish").out)
    line = 'source script.fish; complete -C "pimc comp"; complete -C "pimc compile --chip neu"'
    done = subprocess.run(
        ["fish", "--no-config", "-c", line],
        env={**os.environ, "PATH": f"{program}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    words = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert words == ["compensate", "compile", "completion", "neurram"], done.stderr
