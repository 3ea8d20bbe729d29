"""A page is one file that loads nothing, and whose texts are never taken for HTML."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

import pimc
from pimc.errors import UsageError
from pimc.reports.blocks import Cell, Dot, Dots, Facts, Fold, Part, Scale, Table
from pimc.reports.page import fragment, page_of

ENEMY = """<img src=x onerror=alert(1)>"'&</script><b>"""


def enemy_part() -> Part:
    scale = Scale(0, 1, [(0, ENEMY)], ENEMY)
    table = Table(columns=[ENEMY], rows=[[Cell(ENEMY, ENEMY)]], caption=ENEMY, title=ENEMY)
    dots = Dots(scale=scale, rows=[(ENEMY, [Dot(0, 1, 0, 1, ENEMY)])], legend=[ENEMY],
                lines=[(0.5, ENEMY)], note=ENEMY)  # fmt: skip
    blocks = [table, dots, Fold(blocks=[Facts(rows=[(ENEMY, ENEMY)])], title=ENEMY)]
    return Part(ENEMY, ENEMY, [Facts(rows=[(ENEMY, ENEMY)])], blocks)


def test_every_text_is_escaped() -> None:
    page = page_of(ENEMY, ENEMY, [enemy_part(), enemy_part()])
    assert "<img" not in page.html
    assert "onerror=alert(1)&gt;" in page.html
    assert page.html.count("</script>") == 1
    assert "<img" not in fragment(enemy_part())


def test_names_from_files_are_escaped(folder: Path) -> None:
    html = pimc.report(folder).html
    assert "alert(&#39;why&#39;)" in html
    assert "<script>alert" not in html


def test_the_page_names_nothing_that_is_elsewhere(folder: Path) -> None:
    html = pimc.report(folder).html
    sources = re.findall(r'(?:src|href)="([^"]*)"', html) + re.findall(r"url\(([^)]*)\)", html)
    assert sources
    assert all(source.startswith(("#", "data:")) for source in sources)
    assert "http" not in re.sub(r"http-equiv", "", html)


def test_the_policy_allows_the_one_script_and_no_connection(folder: Path) -> None:
    html = pimc.report(folder).html
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    assert f"{policy}script-src 'sha256-{digest}'" in html


def test_a_page_in_a_notebook_is_framed_and_escaped(folder: Path) -> None:
    page = pimc.report(folder / "tiny.pimc")
    assert page._repr_html_().startswith('<iframe title="tiny.pimc" srcdoc="&lt;!doctype html&gt;')
    assert page._repr_html_().count("<") == 2
    assert repr(page).startswith("Page('tiny.pimc', ")


def test_a_page_is_written_whole_or_not_at_all(folder: Path) -> None:
    page = pimc.report(folder / "tiny.pimc")
    page.save(folder / "page.html")
    assert (folder / "page.html").read_text(encoding="utf-8") == page.html
    with pytest.raises(UsageError, match=r"written|no such"):
        page.save(folder / "nowhere" / "page.html")
    assert sorted(folder.glob(".*")) == []
