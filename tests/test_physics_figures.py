"""docs/physics.md shows every picture that is drawn, and every picture is drawn from the code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("physics_figures", DOCS / "physics_figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_picture_is_shown_and_stored(figures: ModuleType) -> None:
    text = (DOCS / "physics.md").read_text(encoding="utf-8")
    shown = re.findall(r"\(images/physics-([a-z-]+)\.png\)", text)
    assert sorted(shown) == sorted(figures.FIGURES)
    assert [name for name in shown if not (DOCS / f"images/physics-{name}.png").exists()] == []


def test_every_picture_can_be_drawn(figures: ModuleType, tmp_path: Path) -> None:
    for name in figures.FIGURES:
        path = figures.draw(name, tmp_path)
        assert path.read_bytes().startswith(b"\x89PNG")
        assert 1000 < path.stat().st_size < 100_000
