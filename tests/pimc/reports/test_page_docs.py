"""docs/report.md: its commands and examples run."""

from __future__ import annotations

import re
from pathlib import Path

from pimc.cli.registry import commands

PAGE = Path(__file__).parents[3] / "docs" / "report.md"


def test_the_page_on_reports_does_what_it_shows(pimc, folder, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    for name in ("pimc", "r1.pimc", "r1.report.json"):
        Path(f"tiny.{name}").rename(f"model.{name}")
    text = PAGE.read_text(encoding="utf-8")
    recover, report = (line.split() for line in re.findall(r"^    pimc (.+)$", text, re.MULTILINE))
    commands()[recover[0]].load().make_context("pimc", recover[1:])  # understood; it takes long
    assert pimc(*report).code == 0
    assert "model.r1.pimc" in Path("report.html").read_text(encoding="utf-8")
    namespace: dict[str, object] = {}
    for example in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(example, namespace)
    assert str(namespace["html"]).startswith('<div class="pimc fragment">')
