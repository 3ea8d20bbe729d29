"""docs/physics.md: its pictures are drawn by the code it describes, its examples run as shown."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pimc.api import compile
from pimc.chip.design import Chip

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TEXT = (DOCS / "physics.md").read_text(encoding="utf-8")
SCRIPT: dict[str, Any] = runpy.run_path(str(DOCS / "physics_figures.py"))


def blocks(language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model, tiny_inputs) -> Path:
    """An image, labelled data and measured conductances, as the commands name them."""
    target = tmp_path_factory.mktemp("physics")
    chip = Chip.load("neurram").with_array(16, 8)
    compile(tiny_model(), chip, calib=tiny_inputs).save(target / "model.pimc")
    np.savez(target / "test.npz", x=tiny_inputs, y=np.arange(len(tiny_inputs)) % 4)
    rng = np.random.default_rng(0)
    rows = [
        f"{level},{max(rng.normal(5 + 9 * level, 1), 0):.3f}" for level in range(4) for _ in "ab"
    ]
    (target / "measured.csv").write_text("\n".join(["level,g_us", *rows]) + "\n")
    return target


def test_commands_run(folder: Path, pimc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    commands = [
        shlex.split(line, comments=True)
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("pimc ")
    ]
    assert len(commands) >= 5
    for command in commands:
        done = pimc(*command[1:])
        assert done.code == 0, f"{' '.join(command)}\n{done.out}{done.err}"


def test_the_plugin_of_the_example_works(tmp_path: Path) -> None:
    (module,) = [block for block in blocks("python") if "class Root" in block]
    project, sigma = blocks("toml")[:2]
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    (source / "mylab.py").write_text(module, encoding="utf-8")
    (source / "pyproject.toml").write_text(project, encoding="utf-8")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    install += ["--no-build-isolation", "--target", str(site), str(source)]
    subprocess.run(install, check=True, capture_output=True)
    chip = Chip.default().with_array(100, 100).to_dict()
    chip["cell"].pop("sigma")
    cell = "".join(
        f"{key} = {value!r}\n" for key, value in chip["cell"].items() if key != "spacing"
    )
    text = f'schema = 1\nname = "lab"\n[array]\nrows = 100\ncols = 100\n[cell]\n{cell}{sigma}'
    (tmp_path / "lab.toml").write_text(text, encoding="utf-8")
    code = """
import numpy as np, pimc
chip = pimc.Chip.load("lab.toml")
die = pimc.Die.simulated(1)
die.attach(chip, 1)
die.program(np.arange(10000), np.full(10000, 15))
print(float(chip.cell.sigma.sigma_us(40.0)), float(die.cells.g_us.std()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected, sampled = map(float, done.stdout.split())
    assert expected == pytest.approx(0.2 * 40**0.5 + 0.1)
    # Ten thousand samples: 4.5 standard errors of a standard deviation.
    assert sampled == pytest.approx(expected, rel=4.5 / (2 * 10_000) ** 0.5)


def test_the_terms_of_the_example_work(tmp_path: Path, tiny_model, tiny_inputs) -> None:
    (module,) = [block for block in blocks("python") if "class Tails" in block]
    project, tables = blocks("toml")[2:4]
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    (source / "myterms.py").write_text(module, encoding="utf-8")
    (source / "pyproject.toml").write_text(project, encoding="utf-8")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    install += ["--no-build-isolation", "--target", str(site), str(source)]
    subprocess.run(install, check=True, capture_output=True)
    shipped = ROOT / "pimc" / "chip" / "shipped" / "generic-128.toml"
    (tmp_path / "lab.toml").write_text(f"{shipped.read_text()}\n{tables}", encoding="utf-8")
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    np.savez(tmp_path / "data.npz", x=tiny_inputs, y=np.arange(len(tiny_inputs)) % 4)

    def run(*arguments: str) -> Any:
        code = "import sys; from pimc.cli.main import run; sys.exit(run(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments, "--json"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    chip = run("chips", "lab.toml")["physics"]
    assert chip["cell"]["tails"] == {"beyond": 3.0, "sigma_far_us": 8.0}
    assert chip["read"]["shot"] == {"bandwidth_hz": 2e7, "v_read_v": 0.2}
    model = ("tiny.onnx", "--chip", "lab.toml", "--calib", "data.npz")
    run("compile", *model, "-o", "lab.pimc")
    told = run("eval", "--data", "data.npz", "--dies", "2", "--age", "1d", "--explain")["explain"]
    meanings = {row["name"]: row["meaning"] for row in told["elements"]}
    own = ["cell.tails", "time.drift", "read.shot", "converter.bow"]
    assert list(meanings)[-4:] == own
    assert meanings["cell.tails"] == "A few writes land far off"
    over = ("--over", "physics.read.shot.bandwidth_hz=1e6,1e12")
    rows = run("sweep", *model, "--data", "data.npz", "--dies", "1", *over)["rows"]
    assert [row["error"] for row in rows] == ["", ""]
    assert rows[0]["accuracy_per_die"] != rows[1]["accuracy_per_die"]


def test_every_picture_is_shown_and_drawn() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(images/physics-([\w-]+)\.png\)", TEXT)
    assert sorted(shown) == sorted(SCRIPT["FIGURES"])
    for name in shown:
        header = (DOCS / "images" / f"physics-{name}.png").read_bytes()[:24]
        assert struct.unpack(">II", header[16:]) == (480, 300)


@pytest.mark.parametrize("name", sorted(SCRIPT["FIGURES"]))
def test_a_picture_is_drawn_from_the_code(name: str, tmp_path: Path) -> None:
    draw: Callable[[str, Path], Path] = SCRIPT["draw"]
    assert draw(name, tmp_path).read_bytes().startswith(b"\x89PNG")
