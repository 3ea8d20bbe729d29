"""``pimc.report``: one HTML page of images, dies, recoveries and tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pimc.reports.build import built
from pimc.reports.sources import sources_of

if TYPE_CHECKING:
    from pimc.reports.page import Page
    from pimc.reports.sources import What

__all__ = ["report"]


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
            written.
        PimcError: a file is damaged.
    """
    sources, notes = sources_of(what)
    page = built(sources, title or _title(what, sources[0].name), notes)
    if output is not None:
        page.save(output)
    return page


def _title(what: tuple[What, ...], first: str) -> str:
    """By default the name of the first thing."""
    given = what[0]
    name = Path(given).resolve().name if isinstance(given, str | Path) else first
    more = f" and {len(what) - 1} more" if len(what) > 1 else ""
    return f"{name}{more}"
