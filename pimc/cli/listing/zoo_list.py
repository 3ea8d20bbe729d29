"""``pimc zoo list``: The networks of the zoo and what was measured of them."""

from __future__ import annotations

from dataclasses import dataclass

from pimc.cli.command import Report, Settings, command
from pimc.cli.options.fields import flag
from pimc.cli.text import table

__all__ = ["COMMAND", "ListArguments", "list_"]


@dataclass(frozen=True)
class ListArguments:
    """What ``pimc zoo list`` takes."""

    markdown: bool = flag("--markdown", help="The tables of the documentation, as Markdown.")


def list_(settings: Settings, arguments: ListArguments) -> Report:
    """List the networks of the zoo, and what was measured of them.

    Nothing is fetched. A dash stands for what was not measured.
    """
    from pimc.zoo.page import BRIEF, brief, markdown
    from pimc.zoo.record import networks

    known = list(networks())
    data = {"networks": [one.to_dict() for one in known]}
    if arguments.markdown:
        return Report(data, markdown(known).rstrip("\n"))
    return Report(data, table(BRIEF, [brief(one) for one in known]))


COMMAND = command("zoo list", ListArguments, list_, example="pimc zoo list")
