"""Every command and Python example of the README and the pages on recovery and passes runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from pimc.image.image import Image

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Enough images to run every step; the shown figures come from all of them.
IMAGES = 96
#: Cells that move a little with time.
AGES = {
    "retention.kind": "log",
    "retention.log_shift_us": -0.02,
    "retention.log_sigma_us": 0.01,
    "retention.sigma_1s_us": 0.05,
}


def blocks(language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shipped model and some of its data."""
    target = tmp_path_factory.mktemp("readme")
    source = ROOT / "models" / "fashion"
    for name in ("resnet8.onnx", "data.toml"):
        (target / name).write_bytes((source / name).read_bytes())
    for name in ("calib.npz", "test.npz"):
        with np.load(source / name) as data:
            np.savez(target / name, x=data["x"][:IMAGES], y=data["y"][:IMAGES])
    return target


def run(command: list[str], folder: Path) -> str:
    """What ``pimc …`` says; it must end well."""
    pimc = Path(sys.executable).with_name("pimc")
    done = subprocess.run(
        [str(pimc), *command[1:]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_commands_of_the_readme_run(folder: Path) -> None:
    commands = [
        shlex.split(line, comments=True)
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("pimc ")
    ]
    assert len(commands) >= 8
    for command in commands:
        assert run(command, folder).strip()


def test_commands_of_the_page_on_recovery_run(tiny_image: Image, tmp_path: Path) -> None:
    with_die, without = tmp_path / "with", tmp_path / "without"
    rng = np.random.default_rng(0)
    for place in (with_die, without):
        (place / "data").mkdir(parents=True)
        tiny_image.with_chip(tiny_image.chip.with_(**AGES)).save(place / "model.pimc")
        for name in ("calib.npz", "test.npz"):
            x = rng.standard_normal((64, 2, 8, 8)).astype(np.float32)
            np.savez(place / "data" / name, x=x, y=rng.integers(0, 4, 64))
    run(["pimc", "capture", "--calib", "data", "-o", "data/bench.pimccap"], without)
    page = (ROOT / "docs" / "recovery.md").read_text(encoding="utf-8")
    commands = [
        shlex.split(line, comments=True)
        for line in re.findall(r"^    (pimc .*)$", page, flags=re.MULTILINE)
        if "…" not in line
    ]
    assert len(commands) >= 6
    for command in commands:
        # A capture alone takes the place of the die where none is named.
        alone = command == ["pimc", "recover", "--calib", "data"]
        assert run(command, without if alone else with_die).strip()


def test_python_of_the_readme_runs(folder: Path) -> None:
    (example,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) >= 8


def test_python_of_the_page_on_passes_runs(tiny_model, tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "model.onnx")
    page = (ROOT / "docs" / "passes.md").read_text(encoding="utf-8")
    for example in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        done = subprocess.run(
            [sys.executable, "-c", example],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


def python_of(page: str) -> list[str]:
    """Python examples of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def output_of(example: str, folder: Path) -> list[str]:
    """Lines that an example prints, run by itself."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", example],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def lines_of(example: str) -> int:
    """Lines that are not blank."""
    return sum(bool(line.strip()) for line in example.splitlines())


def test_the_example_of_the_python_page_runs(tiny_model, tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "model.onnx")
    (example,) = python_of("python.md")
    told = output_of(example, tmp_path)
    assert [line.split()[0] for line in told] == [
        "five", "ADC", "ADC", "costs", "cells", "one", "three", "none", "affine",
    ]  # fmt: skip
    assert (tmp_path / "bench.pimccap").exists()


#: Lines of IBM aihwkit's examples/01_simple_layer.py that are neither blank nor comments.
LINES_OF_AIHWKIT = 24


def test_the_examples_from_pytorch_and_back_run(tmp_path: Path) -> None:
    module, line, layer, network = python_of("from-pytorch.md")
    assert output_of(module + line, tmp_path)
    assert onnx.load(tmp_path / "model.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_param
    losses = [float(told.split()[1]) for told in output_of(layer, tmp_path)]
    assert len(losses) == 100
    assert np.mean(losses[-10:]) < 0.5 * losses[0]
    assert lines_of(layer) <= LINES_OF_AIHWKIT
    assert lines_of(network) <= 30
    compiled, trained = output_of(network, tmp_path)
    means = [np.mean([float(v) for v in re.findall(r"0\.\d+", one)]) for one in (compiled, trained)]
    assert means[1] > means[0]


def test_a_file_of_torch_is_told_the_line_of_the_page(pimc, here: Path) -> None:
    import torch

    torch.save(torch.nn.Linear(4, 2).state_dict(), here / "model.pt")
    done = pimc("check", "model.pt")
    assert done.code == 2
    assert "this is a PyTorch file" in done.err
    line = python_of("from-pytorch.md")[1].strip()
    assert line in " ".join(done.err.split())


def test_a_file_of_tensorflow_lite_is_told_the_line_of_the_page(pimc, here: Path) -> None:
    (here / "model.tflite").write_bytes(b"\x1c\0\0\0TFL3rest")
    done = pimc("check", "model.tflite")
    assert done.code == 2
    page = (ROOT / "docs" / "from-tflite.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^python -m tf2onnx.*$", page, flags=re.MULTILINE)
    assert line in " ".join(done.err.split())


def test_everything_the_readme_links_to_exists() -> None:
    found = re.findall(r"\]\(([^)]+)\)", README)
    links = [link.partition("#")[0] for link in found if not link.startswith("https:")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


#: Pages that say where things lie.
PAGES = ("CONTRIBUTING.md", "docs/architecture.md", "docs/passes.md", "docs/physics.md")
_PATH = re.compile(r"`((?:pimc|passes|runtime|tests|docs|models)/[\w/.-]*\w)/?`")
#: Parts of a path that stand for what the reader chooses.
_CHOSEN = ("NAME", "ROOM", "FAMILY", "VERSION")


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_are_there(page: str) -> None:
    named = set(_PATH.findall((ROOT / page).read_text(encoding="utf-8")))
    fixed = {path for path in named if not any(part in path for part in _CHOSEN)}
    assert fixed
    assert sorted(path for path in fixed if not (ROOT / path).exists()) == []
