"""Names of tensors and keys of the manifest occur where the format is, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
HOME = ROOT / "pimc" / "image"
#: A tensor or section by its name: ``image.tensors["…"]``, ``image.manifest.get("…")``.
BY_NAME = re.compile(r"\.(?:manifest|tensors)(?:\[|\.get\()")


def test_nobody_but_the_image_takes_tensors_and_sections_by_name() -> None:
    folders = ("pimc", "passes", "runtime")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 200
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources
        if HOME not in path.parents
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if BY_NAME.search(line)
    ]
    assert found == []
