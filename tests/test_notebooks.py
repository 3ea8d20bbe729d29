"""The notebooks run, and what they show is what their code gives."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="what runs notebooks is not installed")
for name in ("ipykernel", "nbclient"):
    pytest.importorskip(name, reason="what runs notebooks is not installed")

DOCS = Path(__file__).resolve().parents[1] / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
#: A number may differ in its last digits from machine to machine; words and layout may not.
_NUMBER = re.compile(r"\s*[-−]?\d[\d,]*(?:\.\d+)?")


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    """docs/run_notebooks.py"""
    spec = importlib.util.spec_from_file_location("run_notebooks", DOCS / "run_notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(notebook: Any) -> list[list[tuple[str, str]]]:
    """Of each cell of code: kind and text of its outputs, numbers left out."""
    return [
        [(output.output_type, _NUMBER.sub(" N", output.get("text", ""))) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_there_are_four() -> None:
    names = {path.stem for path in NOTEBOOKS}
    assert names == {"first-die", "own-device", "explained", "noise-training"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_belong_to_the_code(path: Path, runner: ModuleType) -> None:
    notebook = nbformat.read(path, as_version=4)
    kept = notebook.metadata["pimc"]["code_sha256"]
    assert kept == runner.code_hash(notebook), f"run python docs/run_notebooks.py {path.stem}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_gives_what_it_shows(path: Path, runner: ModuleType) -> None:
    before = shown(nbformat.read(path, as_version=4))
    assert shown(runner.executed(path)) == before
    pictures = sum(kind == "display_data" for cell in before for kind, _ in cell)
    assert pictures >= 2
