"""``pimc.report``: one HTML page of images, dies, recoveries and tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pimc.errors import UsageError
from pimc.reports.build import brief_part, built
from pimc.reports.files import sources_of
from pimc.reports.page import fragment
from pimc.reports.sources import source_of

if TYPE_CHECKING:
    from pimc.reports.page import Page
    from pimc.reports.sources import Thing, What

__all__ = ["brief", "report"]

_SUFFIXES = (".html", ".htm")


def report(*what: What, output: str | Path | None = None, title: str | None = None) -> Page:
    """One self-contained HTML page; the same input gives the same bytes.

    Args:
        what: images, simulated dies, recoveries and sweeps, in memory or as files; tables of
            recoveries, comparisons, what ``pimc eval --json`` told; or folders of them. Beside
            the report of a recovery its images are shown, too, where they lie in its folder.
        output: the file that is written, whole or not at all; none if None.
        title: of the page.

    Raises:
        UsageError: nothing that a report shows, a page beyond 3 MB, or a file that cannot be
            written or is not called ``.html``.
        PimcError: a file is damaged.
    """
    if output is not None and Path(output).suffix.lower() not in _SUFFIXES:
        raise UsageError("a page is called .html", str(output), "another file may be in its place")
    sources, notes = sources_of(what)
    page = built(sources, title or _title(what, sources[0].name), notes)
    if output is not None:
        page.save(output)
    return page


def brief(thing: Thing) -> str:
    """What a notebook shows of an image, a simulated die, a recovery or a sweep: a part of HTML.

    It is the first part of the chapter that :func:`report` writes, without scripts.

    Raises:
        UsageError: it is none of them.
    """
    return fragment(brief_part(source_of(thing)))


def _title(what: tuple[What, ...], first: str) -> str:
    """By default the name of the first thing."""
    given = what[0]
    name = Path(given).resolve().name if isinstance(given, str | Path) else first
    more = f" and {len(what) - 1} more" if len(what) > 1 else ""
    return f"{name}{more}"
