"""What is compiled is kept, and made anew when any file it was made from has changed."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
Copy = Callable[[str], str]

#: A function of ``kernel.py`` that takes ``draws.py`` in, called where nothing was compiled yet.
HASHED = """
import numpy as np
from pimc.runtime.read.fused.kernel import hashed
own = np.full(8, 7, np.uint32)
key_0, key_1 = np.zeros(8, np.uint32), np.zeros(8, np.uint32)
hashed(np.arange(8, dtype=np.uint32), own, own, key_0, key_1)
print(key_0.tolist(), sum(hashed.stats.cache_hits.values()))
"""
#: The same with somebody who listens.
HEARD = """
import sys
from pimc.progress import listening
sys.stderr.isatty = lambda: True
with listening():
    exec({script!r})
"""
#: The stamp of what is kept, and what it would be after each of some files was changed.
STAMPS = """
from pathlib import Path
from pimc.runtime.read.fused.jit import READ
from pimc.work.jit import sources
from pimc.runtime.read.fused.kernel import read_samples
assert read_samples._cache._cache_file._source_stamp[1] == sources(READ.package, READ.constants)
print(sources(READ.package, READ.constants))
for name in {files}:
    with Path(name).open("a", encoding="utf-8") as stream:
        stream.write("# another line")
    sources.cache_clear()
    print(sources(READ.package, READ.constants))
"""


#: The same, where cycles of objects are looked for or not.
COLLECTED = """
import gc
from pimc.work import jit
seen = []
plain = jit.waiting
jit.waiting = lambda text: seen.append(gc.isenabled())
if not {before}:
    gc.disable()
exec({script!r})
print(seen, gc.isenabled())
"""


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Runs a script on a copy of the package, which tests may change."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "pimc", tmp_path / "pimc", ignore=ignored)
    for name in ("passes", "runtime"):
        shutil.copytree(ROOT / name, tmp_path / "pimc" / name, ignore=ignored)

    def run(script: str) -> str:
        # Not the user's bytecode cache, whose stamps have the resolution of seconds.
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("NUMBA_CACHE_DIR", None)
        command = [sys.executable, "-c", script]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def fused(tmp_path: Path) -> Path:
    return tmp_path / "pimc" / "runtime" / "read" / "fused"


def test_a_changed_file_changes_what_runs(copy: Copy, tmp_path: Path) -> None:
    first, again = copy(HASHED), copy(HASHED)
    assert first.endswith("] 0")
    assert again == first.removesuffix("0") + "1"  # kept
    draws = fused(tmp_path) / "draws.py"
    text = draws.read_text(encoding="utf-8")
    assert "0x21F0AAAD" in text
    draws.write_text(text.replace("0x21F0AAAD", "0x21F0AAAF"), encoding="utf-8")
    changed = copy(HASHED)
    assert changed.endswith("] 0")
    assert changed != first


def test_compiling_is_told_once(tmp_path: Path, copy: Copy) -> None:
    def heard() -> str:
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("NUMBA_CACHE_DIR", None)
        script = HEARD.format(script=HASHED)
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stderr

    assert heard() == "compiling loops, once\n"
    assert heard() == ""  # it was kept


def test_no_other_file_is_compiled_in() -> None:
    """What compiled modules import of the package is in the files that count."""
    folder = ROOT / "runtime" / "read" / "fused"
    for name in ("draws", "inputs", "kernel", "lanes", "outputs", "records"):
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        imported = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        own = {module for module in imported if module.startswith("pimc.")}
        inside = {module for module in own if module.startswith("pimc.runtime.read.fused.")}
        assert own - inside <= {"pimc.runtime.physics.streams"}, name


def test_every_file_counts(copy: Copy, tmp_path: Path) -> None:
    beside = ("runtime/physics/streams.py", "work/jit.py")
    files = [*fused(tmp_path).glob("*.py"), *(tmp_path / "pimc" / name for name in beside)]
    assert len(files) >= 10
    stamps = copy(STAMPS.format(files=list(map(str, files)))).splitlines()
    assert len(set(stamps)) == len(stamps) == len(files) + 1


@pytest.mark.parametrize("before", [True, False])
def test_cycles_are_looked_for_again_when_all_is_compiled(copy: Copy, before: bool) -> None:
    told = copy(COLLECTED.format(script=HASHED, before=before)).splitlines()[-1]
    assert told == f"[{before}] {before}"
