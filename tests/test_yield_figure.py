"""The yield of docs/recovery.md is drawn from a table, whose figures the page tells."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from pimc.studies.recoveries.columns import read_rows
from pimc.studies.recoveries.summary import summary_of
from pimc.tasks.classification import CLASSIFICATION

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_picture_can_be_drawn(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("yield_figure", DOCS / "yield_figure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path = module.draw(tmp_path / "yield.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert 1000 < path.stat().st_size < 100_000


def test_the_page_tells_the_figures_of_the_table() -> None:
    rows = read_rows(DOCS / "yield.dies.csv")
    told = summary_of(rows, CLASSIFICATION.metric, rows[0]["float_accuracy"] - 0.01)
    text = (DOCS / "recovery.md").read_text(encoding="utf-8")
    after = re.sub(r"\s+", " ", text.partition("(images/yield.png)")[2][:600])
    for when, word in (("before", "as programmed"), ("after", "recovered")):
        found = told["metric"][when]
        mean, deviation = (100 * found[name] for name in ("mean", "std"))
        assert f"{mean:.2f} ± {deviation:.2f} % {word}" in after
        low, high = (100 * end for end in found["interval_95"])
        assert f"{low:.2f} to {high:.2f} %" in after
    within = told["within"]
    before, reached = (within[when]["dies"] for when in ("before", "after"))
    assert f"are {before} of {len(rows)} dies before and {reached} of {len(rows)} after" in after
