"""docs/projects.md says what project files hold; its examples run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest

from pimc.cli.project.keys import SHARED, STEPS
from pimc.cli.registry import commands
from pimc.files.key_table import key_table
from pimc.project.file import Shared, read_project

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "projects.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_keys_are_those_that_are_read() -> None:
    assert key_table(Shared) in PAGE


def test_the_commands_are_those_that_take_them() -> None:
    table = PAGE.partition("| command | takes |\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ((?:`\w+`(?:, )?)+) \|$", table, re.MULTILINE)
    told = {
        name: set(re.findall(r"`(\w+)`", keys))
        for names, keys in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    assert told == {name: set(table.values()) for name, table in SHARED.items()}


def test_the_steps_are_those_that_are_noted() -> None:
    (line,) = re.findall(r"Steps are (.+)\.\n", PAGE)
    assert set(re.findall(r"`(\w+)`", line)) == STEPS


def test_the_example_is_a_project_file(here: Path) -> None:
    (text,) = blocks("toml")
    Path("pimc.toml").write_text(text)
    project = read_project(Path("pimc.toml"), commands())
    assert project.tables == {
        name: value for name, value in tomllib.loads(text).items() if isinstance(value, dict)
    }


@pytest.fixture
def folder(here: Path, tiny_model, tiny_inputs: np.ndarray) -> Path:
    onnx.save(tiny_model(), "tiny.onnx")
    labels: np.ndarray = np.arange(16) % 4
    for name in ("calib", "test"):
        np.savez(f"{name}.npz", x=tiny_inputs[:16], y=labels)
    return here


def test_the_lines_run(pimc, folder: Path) -> None:
    pytest.importorskip("tensorboardX", reason="the extra `tensorboard` is not installed")
    lines = re.findall(r"^    (pimc .+)$", PAGE, flags=re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        done = pimc(*shlex.split(line, comments=True)[1:])
        assert done.code == 0, f"{line}\n{done.err}"
    assert pimc("compile").err.startswith("compile is up to date")


def test_the_python_runs(here: Path) -> None:
    (example,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "urn:pimc:schema:eval:1\n"
