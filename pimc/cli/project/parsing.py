"""A command that looks into ``pimc.toml`` while its options are parsed."""

from __future__ import annotations

import click

__all__ = ["ProjectCommand"]

#: Options that may stand before the command, too.
_BEFORE = ("project", "log_format", "verbose")


class ProjectCommand(click.Command):
    """A command that takes from ``pimc.toml`` what is not named on the command line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line, with what the project file says as defaults."""
        if not ctx.resilient_parsing:
            self._use_project(ctx, args)
        return super().parse_args(ctx, args)

    def _use_project(self, ctx: click.Context, args: list[str]) -> None:
        opts, _, _ = self.make_parser(ctx).parse_args(list(args))
        asked = self.get_help_option(ctx)
        if asked is not None and asked.name in opts:
            return
        # Not before, so that help waits for nothing.
        from pimc.cli.project.given import name_of, using
        from pimc.cli.project.keys import SHARED
        from pimc.project.file import find_project, read_project

        # Of a missing argument the parser has a mark of its own.
        named = {name for name, value in opts.items() if isinstance(value, str | bool | list)}
        root = ctx.find_root()
        before = {name: root.params[name] for name in _BEFORE if root.params.get(name)}
        ctx.default_map = before
        path = find_project(opts.get("project", before.get("project")))
        if path is None or not isinstance(root.command, click.Group) or name_of(ctx) not in SHARED:
            return
        group = root.command
        project = read_project(path, SHARED)
        using(ctx, project, named, lambda name: group.get_command(root, name))
        ctx.default_map = {**ctx.default_map, **before}
