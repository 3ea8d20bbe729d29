"""``pimc report``: One HTML page of images, dies, recoveries and tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from pimc.cli.command import Report, Settings, command
from pimc.cli.options.fields import arguments as several_arguments
from pimc.cli.options.fields import option
from pimc.cli.options.values import FILE

__all__ = ["COMMAND", "ReportArguments", "report"]


@dataclass(frozen=True)
class ReportArguments:
    """What ``pimc report`` takes."""

    what: tuple[Path, ...] = several_arguments(type=FILE, metavar="WHAT...")
    output: Path = option(
        "-o", "--output", type=FILE, metavar="FILE.html", default=Path("report.html"),
        help="The page.",
    )  # fmt: skip
    title: str | None = option("--title", type=click.STRING, help="Title of the page.")


def report(settings: Settings, arguments: ReportArguments) -> Report:
    """Write one HTML page of WHAT: images, dies, recoveries, tables, or a folder of them.

    The page is one file below 3 MB that loads nothing: it opens on a phone and from a mail. A
    recovery is named by its .report.json; its images are shown, too, where they lie beside it.
    In a project nothing need be named: the page is of the image and its latest recovery.
    """
    from pimc.files.writing.atomic import require_folder
    from pimc.functions.report import report as written

    require_folder(arguments.output)
    latest = _latest(arguments)
    title = arguments.title
    if latest and title is None:
        title = f"{arguments.what[0].name} and its latest recovery"
    page = written(*latest, *arguments.what, output=arguments.output, title=title)
    size = len(page.html.encode())
    data = {
        "output": str(arguments.output),
        "title": page.title,
        "bytes": size,
        "chapters": [{"what": part.what, "title": part.title} for part in page.parts],
    }
    text = f"written  {arguments.output}, {size / 1e3:,.0f} kB; open it in a browser"
    return Report(data, text, answer=False)


def _latest(arguments: ReportArguments) -> list[Path]:
    """The latest recovery of the image that the project names; of what the user names nothing."""
    from pimc.cli.project.given import used
    from pimc.reports.files import latest_recovery

    use = used(click.get_current_context())
    if use is None or "what" not in use.filled:
        return []
    found = (latest_recovery(path) for path in arguments.what)
    return [path for path in found if path is not None]


COMMAND = command(
    "report",
    ReportArguments,
    report,
    example="pimc report model.pimc model.r1.report.json -o report.html",
)
