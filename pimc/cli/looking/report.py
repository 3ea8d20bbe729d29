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
    """
    from pimc.files.writing.atomic import require_folder
    from pimc.functions.report import report as written

    require_folder(arguments.output)
    page = written(*arguments.what, output=arguments.output, title=arguments.title)
    size = len(page.html.encode())
    data = {
        "output": str(arguments.output),
        "title": page.title,
        "bytes": size,
        "chapters": [{"what": part.what, "title": part.title} for part in page.parts],
    }
    text = f"written  {arguments.output}, {size / 1e3:,.0f} kB; open it in a browser"
    return Report(data, text, answer=False)


COMMAND = command(
    "report",
    ReportArguments,
    report,
    example="pimc report model.pimc model.r1.report.json -o report.html",
)
