"""The site of the documentation is built without a warning, and is whole without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

pytest.importorskip("sphinx", reason="what the site is built with is not installed")

ROOT = Path(__file__).resolve().parents[1]
#: Attributes of which a browser fetches what they name while it shows a page.
FETCHED = {(tag, "src") for tag in ("script", "img", "iframe", "source")} | {("link", "href")}


class Page(HTMLParser):
    """Links and anchors of a page, and what a browser fetches for it."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.fetched: list[str] = []
        self.titles = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors.add(found.get("id", ""))
        self.titles += tag == "h1"
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        self.fetched += [found[name] for one, name in FETCHED if one == tag and name in found]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` does."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q"]
    command += ["-d", str(folder / "doctrees"), str(ROOT / "docs"), str(folder / "html")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """All pages."""
    found = {}
    for path in sorted(site.rglob("*.html")):
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        found[path] = page
    return found


def within(path: Path, links: list[str]) -> Iterator[tuple[Path, str]]:
    """Targets of links that stay on the site, with their anchors."""
    for link in links:
        if not re.match(r"[a-z]+:", link):
            target, _, anchor = link.partition("#")
            yield (path.parent / unquote(target)).resolve() if target else path, unquote(anchor)


def test_every_page_is_there(pages: dict[Path, Page], site: Path) -> None:
    docs = ROOT / "docs"
    sources = [*docs.rglob("*.md"), *docs.rglob("*.ipynb")]
    wanted = {path.relative_to(docs).with_suffix(".html") for path in sources}
    assert wanted <= {path.relative_to(site) for path in pages}
    assert len(wanted) >= 30


def test_links_and_anchors_lead_somewhere(pages: dict[Path, Page]) -> None:
    broken = [
        f"{path.name}: {target.name}#{anchor}"
        for path, page in pages.items()
        for target, anchor in within(path, page.links)
        if not target.exists()
        or (anchor and target in pages and anchor not in pages[target].anchors)
    ]
    assert broken == []


def test_nothing_is_fetched_from_elsewhere(pages: dict[Path, Page], site: Path) -> None:
    for path, page in pages.items():
        for target in page.fetched:
            assert not target.startswith(("http:", "https:", "//")), (path, target)
            if not target.startswith(("data:", "#")):
                assert (path.parent / unquote(target.partition("?")[0])).exists(), (path, target)
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", text) == [], path


def test_the_search_runs_from_a_folder(site: Path) -> None:
    """Its index is a script, which a browser loads from a disk, and not a file to be fetched."""
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert index.startswith("Search.setIndex(")
    assert "wordline" in index


def test_every_page_has_one_title(pages: dict[Path, Page]) -> None:
    titles = {path.name: page.titles for path, page in pages.items()}
    assert titles.pop("search.html") == 0  # its script writes one
    assert {name: count for name, count in titles.items() if count != 1} == {}


def test_every_command_has_its_options_and_every_public_name_its_entry(
    pages: dict[Path, Page], site: Path
) -> None:
    import pimc
    from pimc.cli.registry import commands

    options = pages[(site / "reference" / "options.html")].anchors
    assert {f"pimc-{name}" for name in commands()} <= options
    names = {f"pimc.{name}" for name in pimc.__all__ if name not in ("__version__", "PimcError")}
    assert names <= pages[(site / "reference" / "api.html")].anchors


def browsed(address: str) -> tuple[str, str]:
    """What a browser makes of a page, and what it has to complain of."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--enable-logging=stderr", "--virtual-time-budget=10000", address]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, "\n".join(complaints)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser is installed")
def test_a_browser_finds_words_and_has_nothing_to_complain_of(site: Path) -> None:
    page, complaints = browsed((site / "search.html").as_uri() + "?q=wordline")
    assert 'href="glossary.html' in page.partition('id="search-results"')[2]
    assert complaints == ""
