"""A command turns options into a call, and a report into output."""

from __future__ import annotations

import json
from dataclasses import dataclass

import click
import pytest
from click.testing import CliRunner

from pimc.cli.command import Report, Settings, command
from pimc.cli.options.fields import argument, flag, option


@dataclass(frozen=True)
class EchoArguments:
    """What the command takes."""

    words: str = argument(type=click.STRING)
    times: int = option("--times", type=click.IntRange(1), default=1, help="How often.")
    act: bool = flag("--act", help="The text is a summary after an act.")


def echo(settings: Settings, arguments: EchoArguments) -> Report:
    """Say WORDS."""
    said = " ".join([arguments.words] * arguments.times)
    return Report({"said": said, "seed": settings.seed}, said, 1, answer=not arguments.act)


ECHO = command("echo", EchoArguments, echo, example="pimc echo hello --times 2")


def call(*arguments: str) -> tuple[int, str]:
    """Exit code and output."""
    result = CliRunner().invoke(ECHO, arguments, standalone_mode=False)
    assert result.exception is None, result.exception
    return result.return_value, result.output


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "a\n"),
        (["--times", "3"], "a a a\n"),
        (["--quiet"], "a\n"),
        (["--act"], "a\n"),
        (["--act", "-q"], ""),
    ],
)
def test_output_for_people(options: list[str], text: str) -> None:
    assert call("a", *options) == (1, text)


def test_json_is_one_line_whether_quiet_or_not() -> None:
    for quiet in ([], ["--quiet"], ["--quiet", "--act"]):
        code, output = call("µ", "--json", "--seed", "7", *quiet)
        assert (code, output.count("\n")) == (1, 1)
        assert json.loads(output) == {"said": "µ", "seed": 7}
        assert "µ" in output


def test_help_is_the_docstring_the_options_and_the_example() -> None:
    text = CliRunner().invoke(ECHO, ["--help"]).output
    assert "Say WORDS." in text
    assert "How often.  [default: 1; x>=1]" in text
    assert text.endswith("\n  Example:\n    pimc echo hello --times 2\n")


def test_seeds_of_dies_begin_again_at_the_limit() -> None:
    assert Settings(seed=5).seeds(3) == (5, 6, 7)
    assert Settings(seed=2**63 - 2).seeds(2) == (2**63 - 2, 0)


def test_an_option_of_every_command_cannot_be_declared_again() -> None:
    @dataclass(frozen=True)
    class Again:
        as_json: bool = flag("--json", help="Another.")

    with pytest.raises(TypeError, match="given to two fields: --json"):
        command("again", Again, lambda settings, arguments: Report({}, ""), example="pimc again")
