"""Blocks to HTML: one page that needs no other file, or a part of it for notebooks.

Templates escape every text. The page's policy allows its own script, known by its hash, and no
connection at all.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from pimc.files.writing.atomic import replacing
from pimc.reports.blocks import Part

if TYPE_CHECKING:
    import jinja2

__all__ = ["Page", "fragment", "page_of"]


@dataclass(frozen=True)
class Page:
    """A report in memory.

    Attributes:
        title: of the page.
        html: the file's text.
        parts: its chapters.
    """

    title: str
    html: str = field(repr=False)
    parts: tuple[Part, ...] = field(repr=False)

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            UsageError: the file cannot be written.
        """
        with replacing(path) as stream:
            stream.write(self.html.encode())

    def __repr__(self) -> str:
        return f"Page({self.title!r}, {len(self.html.encode()):,} bytes)"

    def _repr_html_(self) -> str:
        """The page in a frame of a notebook."""
        return (
            f'<iframe title="{escape(self.title)}" srcdoc="{escape(self.html)}" '
            'style="width:100%;height:40rem;border:1px solid #888"></iframe>'
        )


def page_of(title: str, about: str, parts: Sequence[Part]) -> Page:
    """The page of some chapters."""
    from importlib.metadata import version

    script = _text("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = _environment().get_template("page.html").render(
        title=title,
        about=about,
        parts=parts,
        style=_safe(_text("report.css")),
        script=_safe(script),
        script_hash=f"sha256-{digest}",
        version=version("pimc"),
    )  # fmt: skip
    return Page(title, html, tuple(parts))


def fragment(part: Part) -> str:
    """The brief blocks of a chapter, for a notebook: no script, and styles of its own."""
    template = _environment().get_template("fragment.html")
    return template.render(part=part, style=_safe(_text("report.css")))


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("pimc.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


@cache
def _text(name: str) -> str:
    return resources.files("pimc.reports").joinpath("templates", name).read_text(encoding="utf-8")


def _safe(text: str) -> str:
    """Our own style and script, which are not escaped."""
    from markupsafe import Markup

    return Markup(text)
