"""Man pages of all commands, from the declarations that ``--help`` is made of.

``python -m pimc.cli.manpages FOLDER`` writes them; ``make man`` does so into ``build/man``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click

from pimc.cli.registry import commands

__all__ = ["man_pages", "write_man_pages"]


def man_pages() -> dict[str, str]:
    """Pages in roff by the names of their files: ``pimc-compile.1``."""
    entries = commands()
    listed = [(f"pimc-{name}(1)", entry.summary) for name, entry in entries.items()]
    pages = {
        "pimc.1": _page(
            "pimc",
            "Deployment compiler for multi-level RRAM compute-in-memory chips",
            "pimc COMMAND [OPTIONS] [ARGUMENTS]",
            [("COMMANDS", listed)],
        )
    }
    for name, entry in entries.items():
        for title, found in _with_parts(f"pimc {name}", entry.load()):
            part = (found.help or "").strip().partition("\n")[0].rstrip(".")
            summary = entry.summary if title == f"pimc {name}" else part
            pages[f"{title.replace(' ', '-')}.1"] = _of_command(title, found, summary)
    return pages


def write_man_pages(folder: Path) -> list[Path]:
    """Write all pages to a folder, which is made if there is none; returns their paths."""
    from pimc.files.writing.atomic import replacing

    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / name for name in man_pages()]
    for path, page in zip(written, man_pages().values(), strict=True):
        with replacing(path) as stream:
            stream.write(page.encode())
    return written


def _with_parts(title: str, found: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield title, found
    if isinstance(found, click.Group):
        for name, part in found.commands.items():
            yield from _with_parts(f"{title} {name}", part)


def _of_command(title: str, found: click.Command, summary: str) -> str:
    context = click.Context(found, info_name=title)
    usage = " ".join([title, *found.collect_usage_pieces(context)])
    records = [parameter.get_help_record(context) for parameter in found.get_params(context)]
    example = (found.epilog or "").rsplit("\n", 1)[-1].strip()
    text = re.sub(r"[ \t]*\n[ \t]*", "\n", (found.help or "").strip())
    sections: list[tuple[str, str | list[tuple[str, str]]]] = [
        ("DESCRIPTION", text),
        ("OPTIONS", [record for record in records if record is not None]),
        ("EXAMPLE", example),
        ("SEE ALSO", "pimc(1)"),
    ]
    return _page(title.replace(" ", "-"), summary, usage, sections)


def _page(
    name: str, summary: str, usage: str, sections: list[tuple[str, str | list[tuple[str, str]]]]
) -> str:
    lines = [f'.TH "{name.upper()}" "1" "" "pimc {version("pimc")}" "pimc"']
    for heading, text in [("NAME", f"{name} - {summary}"), ("SYNOPSIS", usage), *sections]:
        if not text:
            continue
        lines.append(f".SH {heading}")
        if isinstance(text, str):
            # The dash between name and summary is what whatis(1) looks for: no minus sign.
            plain = _roff(text).replace(r" \- ", " - ", 1) if heading == "NAME" else _roff(text)
            lines.append(plain)
        else:
            for term, told in text:
                lines += [".TP", f"\\fB{_roff(term)}\\fR", _roff(told)]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """A text that roff prints as it stands; an empty line begins a paragraph."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("\b\n", "")
    text = re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)
    return re.sub(r"\n\n+", "\n.PP\n", text)


if __name__ == "__main__":
    print(*write_man_pages(Path(sys.argv[1])), sep="\n")
