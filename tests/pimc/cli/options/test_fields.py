"""Options as typed fields: parsed once, by name, and refused where names disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from pimc.cli.options.fields import (
    argument,
    filled,
    flag,
    group,
    named_by_user,
    option,
    parameters,
    several,
)
from pimc.cli.options.values import FILE, SIZE
from pimc.cli.registry import commands


@dataclass(frozen=True)
class Inner:
    """Options that come in a group."""

    size: tuple[int, int] | None = option("--size", type=SIZE, help="A size.")
    names: tuple[str, ...] = several("--name", type=click.STRING, help="Names.")


@dataclass(frozen=True)
class Outer:
    """All kinds of fields."""

    source: Path = argument(type=FILE)
    target: Path | None = argument(type=FILE, required=False)
    inner: Inner = group(Inner)
    count: int = option("-n", "--count", type=click.INT, default=3, help="A number.")
    every: bool = flag("--all", help="A flag.")
    must: float = option("--must", type=click.FLOAT, required=True, help="Has to be given.")


def parsed(arguments: Sequence[str]) -> Outer:
    command = click.Command("test", params=parameters(Outer))
    return filled(Outer, command.make_context("test", [*arguments]).params)


def test_what_is_not_given_has_its_default() -> None:
    assert parsed(["a", "--must", "1"]) == Outer(
        source=Path("a"), target=None, inner=Inner(size=None, names=()),
        count=3, every=False, must=1.0,
    )  # fmt: skip
    # The defaults in Python are those of the command line.
    assert parsed(["a", "--must", "1"]) == Outer(source=Path("a"), must=1.0)


def test_what_is_given_gets_into_its_field() -> None:
    line = "a b --size 4x5 --name x --name y -n 7 --all --must .5"
    assert parsed(line.split()) == Outer(
        source=Path("a"), target=Path("b"), inner=Inner(size=(4, 5), names=("x", "y")),
        count=7, every=True, must=0.5,
    )  # fmt: skip


def test_what_is_required_cannot_be_left_out() -> None:
    with pytest.raises(click.MissingParameter, match="must"):
        parsed(["a"])
    with pytest.raises(click.MissingParameter, match="source"):
        parsed(["--must", "1"])
    with pytest.raises(TypeError, match="must"):
        Outer(source=Path("a"))


def test_a_flag_or_a_name_of_two_fields_is_refused() -> None:
    @dataclass(frozen=True)
    class SameFlag:
        inner: Inner = group(Inner)
        other: bool = flag("--size", help="Another.")

    @dataclass(frozen=True)
    class SameName:
        inner: Inner = group(Inner)
        size: bool = flag("--large", help="Another.")

    with pytest.raises(TypeError, match="given to two fields: --size"):
        parameters(SameFlag)
    with pytest.raises(TypeError, match="given to two fields: size"):
        parameters(SameName)
    with pytest.raises(TypeError, match="given to two fields"):
        parameters(Inner, Inner)


def test_a_field_that_is_no_option_is_refused() -> None:
    @dataclass(frozen=True)
    class Plain:
        number: int = 3

    with pytest.raises(TypeError, match=r"Plain\.number is not declared as an option"):
        parameters(Plain)


def test_what_the_user_named_is_told_from_defaults() -> None:
    command = click.Command("test", params=parameters(Outer))
    with command.make_context("test", ["a", "--must", "1", "-n", "3"]):
        assert named_by_user("count")
        assert not named_by_user("every")


@pytest.mark.parametrize("name", commands())
def test_every_option_of_every_command_says_what_it_does(called, name: str) -> None:
    for command in called(name).values():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{command.name} {parameter.name}"
                assert parameter.help.endswith((".", "]"))
