"""docs/commands.md says what the parser takes: every option of every command, and no other."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from pimc.cli.registry import commands

PAGE = Path(__file__).parents[3] / "docs" / "commands.md"
TEXT = PAGE.read_text(encoding="utf-8")
#: Sections by heading; those of commands are called like the command.
SECTIONS = dict(re.findall(r"^### (.+)\n((?:(?!##).*\n)*)", TEXT, re.MULTILINE))
COMMON = "Options of every command"
FLAG = r"--[a-z]+(?:-[a-z]+)*"


def rows(heading: str) -> dict[str, str]:
    """Option → the first cell of its row, of the tables under a heading."""
    cells = re.findall(r"^\| (.*?) \| ", SECTIONS[heading], re.MULTILINE)
    return {flag: cell for cell in cells for flag in re.findall(rf"`({FLAG})", cell)[:1]}


def documented(command: str) -> dict[str, str]:
    """The options of a command as the page tells them: its own, and those it refers to."""
    anchors = {heading.lower().replace(" ", "-"): heading for heading in SECTIONS}
    links = re.findall(r"\]\(#(options-of-[a-z-]+)\)", SECTIONS[command])
    return {
        flag: cell
        for heading in (COMMON, command, *(anchors[link] for link in links))
        for flag, cell in rows(heading).items()
    }


def taken(command: click.Command) -> dict[str, click.Option]:
    """The options of a command by their long names."""
    return {
        name: option
        for option in command.params
        if isinstance(option, click.Option)
        for name in option.opts
        if name.startswith("--")
    }


def number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("name", commands())
def test_every_option_is_documented_and_none_that_is_gone(called, name: str) -> None:
    for command, found in called(name).items():
        options = taken(found)
        told = documented(command)
        assert told.keys() == options.keys(), command
        for flag, option in options.items():
            if not option.is_flag and isinstance(option.default, int | float | str):
                assert f"({number(option.default)})" in told[flag], f"{command} {flag}"
            else:
                assert not told[flag].endswith(")"), f"{command} {flag} has no default"


def test_every_command_has_its_section_and_no_other_has_one(called) -> None:
    named = {heading for heading in SECTIONS if heading.islower()}
    assert named == {command for name in commands() for command in called(name)}


def test_whatever_else_the_page_names_exists(called) -> None:
    known = {flag for name in commands() for one in called(name).values() for flag in taken(one)}
    assert set(re.findall(rf"(?<![\w-]){FLAG}", TEXT)) <= known | {"--help"}


def test_the_lines_to_type_are_understood(called) -> None:
    lines = re.findall(r"^    pimc (.+)$", TEXT, re.MULTILINE)
    assert len(lines) >= 9
    for line in lines:
        name, *arguments = shlex.split(line, comments=True)
        called(name)[name].make_context(name, arguments)
