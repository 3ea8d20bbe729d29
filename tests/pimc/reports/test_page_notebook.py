"""In a notebook things show parts of their chapter; elsewhere they are one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pimc
from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.passes.recover.recovery import Basis, Floor, Recovery, Stage, Verdict
from pimc.runtime.die.die import Die
from pimc.studies.sweep import Swept


@pytest.fixture
def recovery(next_image: Image) -> Recovery:
    stage = Stage("as programmed", 1.0, 0.5, 0, 1.0, {"w1": 0.5})
    return Recovery(
        "selective", Floor(0.01, 0.9), next_image, np.zeros((2, 4), np.int64), (stage,), 2.0, True,
        Basis(64, 8), Verdict(True, 1.0, 0.1),
    )  # fmt: skip


def test_plain_text_is_one_line(tiny_image: Image, tiny_die: Path, recovery: Recovery) -> None:
    sha256 = tiny_image.sha256[:12]
    name = tiny_image.model.name
    arrays = tiny_image.arrays
    assert repr(tiny_image) == (
        f"Image({name} for {tiny_image.chip.name}: 3 layers in {arrays} arrays, {sha256})"
    )
    assert repr(Die.load(tiny_die)) == f"Die(sim:900, {tiny_image.chip.name}: {arrays} arrays)"
    assert repr(Die(7)) == "Die(sim:7, of no chip yet)"
    assert repr(recovery) == "Recovery(selective: held-out loss 1 → 0.1, 2 cells rewritten)"
    assert repr(Swept([], 0)) == "Swept(0 points, 0 of them measured now)"


def test_notebooks_show_the_first_part_of_a_chapter(
    tiny_image: Image, tiny_die: Path, recovery: Recovery
) -> None:
    things: list[tuple[Any, list[str]]] = [
        (tiny_image, ["Layers on arrays", "w1", "w3"]),
        (Die.load(tiny_die), ["sim:900", "Cells written"]),
        (Die(7), ["sim:7", "none yet"]),
        (recovery, ["selective for sim:900", "better than before"]),
    ]
    for thing, texts in things:
        html = thing._repr_html_()
        assert html == pimc.brief(thing)
        assert html.startswith('<div class="pimc fragment">')
        assert "<script" not in html
        assert "<h1" not in html
        for text in texts:
            assert text in html
        # Whatever stands beside it in the notebook keeps its looks.
        style = html[html.index("<style>") : html.index("</style>")]
        outside = [line for line in style.splitlines() if line[:1] not in ("", " ", "}", "@")]
        rules = [line.removeprefix("<style>") for line in outside]
        assert all(rule.startswith((".pimc", "body.pimc")) for rule in rules)


def test_a_report_takes_what_is_in_memory(
    tiny_image: Image, tiny_die: Path, recovery: Recovery
) -> None:
    page = pimc.report(recovery, tiny_image, recovery.image, Die.load(tiny_die), title="All")
    assert [part.what for part in page.parts] == ["recovery", "image", "image", "die"]
    assert page.title == "All"
    with pytest.raises(UsageError, match="shows no str"):
        pimc.brief("tiny.pimc")  # type: ignore[arg-type]
