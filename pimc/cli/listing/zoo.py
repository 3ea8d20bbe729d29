"""``pimc zoo``: Networks that anyone can obtain, and what was measured of them."""

from __future__ import annotations

import click

from pimc.cli.listing import zoo_get, zoo_list, zoo_run

__all__ = ["COMMAND"]

_LIST = "list"


class _Zoo(click.Group):
    """Without a word the networks are listed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        completing = ctx.resilient_parsing and not args  # any of the three may come
        options = not args or (args[0].startswith("-") and args[0] not in ("-h", "--help"))
        if options and not completing:
            args = [_LIST, *args]
        return super().parse_args(ctx, args)


COMMAND = _Zoo(
    "zoo",
    commands={_LIST: zoo_list.COMMAND, "get": zoo_get.COMMAND, "run": zoo_run.COMMAND},
    help="Networks that anyone can obtain: list them, fetch one, or measure it again.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
