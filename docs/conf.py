"""How Sphinx makes the site of these pages: ``make docs``.

Nothing is fetched when the site is built or read: no fonts, no scripts from elsewhere, and the
search runs from a folder on the disk.
"""

from __future__ import annotations

import re
from importlib.metadata import version as installed
from pathlib import Path

from sphinx.application import Sphinx

project = "pimc"
author = "The pimc authors"
project_copyright = author
release = version = installed("pimc")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
exclude_patterns: list[str] = []
nitpicky = False
keep_warnings = False

# Pages are Markdown as GitHub shows it: anchors as there, dollars are dollars.
myst_enable_extensions: list[str] = []
myst_heading_anchors = 4
# Notebooks carry the outputs of their last run; the tests run them (tests/test_notebooks.py).
nb_execution_mode = "off"

autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
napoleon_numpy_docstring = False

smartquotes = False
highlight_language = "text"
html_theme = "furo"
html_title = f"pimc {release}"
html_copy_source = False
html_show_sphinx = False
# Summaries of hits are fetched, which browsers refuse to do in a folder.
html_show_search_summary = False
html_static_path: list[str] = []


def _plain(lines: list[str]) -> None:
    """Take a star for a star, and what stands between backticks for code.

    Docstrings and help texts are plain text, not reStructuredText.
    """
    for number, line in enumerate(lines):
        parts = re.split(r"(:\w+:`[^`]+`|``.+?``)", line)
        for place in range(0, len(parts), 2):
            part = re.sub(r"(?<!\*)\*(?!\*)", r"\\*", parts[place])
            parts[place] = re.sub(r"`([^`<]+)`", r"``\1``", part)
        lines[number] = "".join(parts)


def _navigation(app: Sphinx, page: str, source: list[str]) -> None:
    """Leave lines of the navigation out that stand for pages yet to come: ``zoo*``."""
    if page == "index":
        lines = source[0].split("\n")
        coming = [line for line in lines if re.fullmatch(r"[\w/]*\*", line)]
        gone = {line for line in coming if not any(Path(app.srcdir).glob(f"{line}.md"))}
        source[0] = "\n".join(line for line in lines if line not in gone)


def setup(app: Sphinx) -> None:
    """Have texts of the code read as plain ones."""
    app.connect("source-read", _navigation)
    app.connect("autodoc-process-docstring", lambda *given: _plain(given[-1]))
    for part in ("description", "options", "epilog"):
        app.connect(f"sphinx-click-process-{part}", lambda *given: _plain(given[-1]))
