"""What is installed: one package, complete, that imports torch only where it computes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION = PYPROJECT["project"]["version"]
TEMPLATES = {
    path.relative_to(ROOT).as_posix() for path in (ROOT / "pimc/reports/templates").iterdir()
}
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "pimc", "passes", "runtime")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in a wheel built from a copy, so that the checkout stays clean."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / "source" / name, ignore=ignored)
        else:
            (folder / "source").mkdir(exist_ok=True)
            shutil.copy(source, folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``code`` outside the checkout."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


# --- wheel -----------------------------------------------------------------------------------


def test_the_wheel_installs_one_package(wheel: list[str]) -> None:
    assert {name.split("/")[0] for name in wheel} == {"pimc", f"pimc-{VERSION}.dist-info"}


def test_the_wheel_is_complete(wheel: list[str]) -> None:
    """Every module of the three source folders, the chips and the typing marker."""
    targets = {"pimc": "pimc", "passes": "pimc/passes", "runtime": "pimc/runtime"}
    for folder, target in targets.items():
        for path in (ROOT / folder).rglob("*.py"):
            assert f"{target}/{path.relative_to(ROOT / folder).as_posix()}" in wheel
    chips = {f"pimc/chip/shipped/{p.name}" for p in (ROOT / "pimc/chip/shipped").glob("*.toml")}
    assert len(chips) >= 5
    assert chips | {"pimc/py.typed"} <= set(wheel)
    assert len(TEMPLATES) >= 5
    assert set(wheel) >= TEMPLATES
    records = (ROOT / "pimc/zoo/networks").glob("*.toml")
    assert {f"pimc/zoo/networks/{path.name}" for path in records} <= set(wheel)


def test_the_wheel_holds_nothing_else(wheel: list[str]) -> None:
    known = r"\.(py|toml|typed)$|^pimc/schemas/[\w-]+\.json$|\.dist-info/"
    assert {name for name in wheel if not re.search(known, name)} == TEMPLATES


# --- environment -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["passes", "runtime"])
def test_no_folder_is_a_package_of_its_own(name: str, tmp_path: Path) -> None:
    result = python(f"import {name}", tmp_path)
    assert result.returncode != 0
    assert "ModuleNotFoundError" in result.stderr


def test_the_installed_package_imports_from_anywhere(tmp_path: Path) -> None:
    result = python("import pimc.passes.layout.tile, pimc.runtime.door.sim", tmp_path)
    assert result.returncode == 0, result.stderr


def test_versions_agree() -> None:
    assert metadata.version("pimc") == VERSION
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    top = re.search(r"^## (\S+)", changes, re.M)
    assert top is not None
    assert top[1] == VERSION


def test_constraints_pin_every_dependency() -> None:
    wanted = PYPROJECT["build-system"]["requires"] + PYPROJECT["project"]["dependencies"]
    for extra in PYPROJECT["project"]["optional-dependencies"].values():
        wanted += extra
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.M))
    names = {re.split(r"[<>=!~\[; ]", line)[0] for line in wanted}
    assert names - {"pimc"} <= set(pins)  # extras of extras name the project itself
    assert pins["torch"] == "2.13.0"


# --- torch -----------------------------------------------------------------------------------


def test_rooms_below_the_runtime_do_not_import_torch(tmp_path: Path) -> None:
    rooms = ("files", "work", "chip", "plan", "data", "tasks", "image")
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for room in rooms
        for path in sorted((ROOT / "pimc" / room).rglob("[!_]*.py"))
    ]
    assert {"pimc.chip.design", "pimc.image.image", "pimc.plan.vectors"} <= set(modules)
    code = f"import sys, pimc, {', '.join(modules)}\nassert 'torch' not in sys.modules"
    result = python(code, tmp_path)
    assert result.returncode == 0, result.stderr


def test_pages_and_examples_install_what_runs_networks() -> None:
    """`pip install pimc` alone cannot calibrate; docs/install.md says what it is for."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").iterdir()]
    small = re.compile(r"pip install(?: -\S+)* [\"']?(?:\.|pimc)[\"']?(?:\s|`|$)")
    texts = {
        page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
        for page in pages
        if page.is_file()
    }
    found = {name for name, text in texts.items() if small.search(text.replace(" -e .", ""))}
    assert found == {"docs/install.md"}
