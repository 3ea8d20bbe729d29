"""Tests mirror the tree: every module has a test file of its name, or says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("pimc", "passes", "runtime")

#: Modules without a test file of their own: why, and which tests reach them.
ELSEWHERE: dict[str, str] = {}


def modules() -> list[Path]:
    """All modules but packages' own, relative to the checkout."""
    found = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return sorted(path.relative_to(ROOT) for path in found if path.name != "__init__.py")


def tests_of(module: Path) -> list[Path]:
    """Test files at the mirrored place: ``test_b.py`` and ``test_b_….py`` for ``b.py``."""
    folder = ROOT / "tests" / module.parent
    return [*folder.glob(f"test_{module.stem}.py"), *folder.glob(f"test_{module.stem}_*.py")]


@pytest.mark.parametrize("module", modules(), ids=str)
def test_a_module_has_tests_of_its_name_or_a_reason(module: Path) -> None:
    found, reason = tests_of(module), ELSEWHERE.get(str(module))
    if found:
        assert reason is None, f"{found[0].name} tests it: take it out of the table"
    else:
        assert reason, f"write tests/{module.parent}/test_{module.name}, or a row in ELSEWHERE"


def test_the_table_names_modules_that_there_are() -> None:
    assert set(ELSEWHERE) - {str(module) for module in modules()} == set()
