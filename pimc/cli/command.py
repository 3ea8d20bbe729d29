"""A command: a function of settings and options that gives a report."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pimc.cli.options.fields import filled, flag, option, parameters
from pimc.extras import require
from pimc.progress import Progress, listening, progress, waiting

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["COMPLETE_VARIABLE", "Report", "Settings", "command", "note", "warned"]

Arguments = TypeVar("Arguments", bound="DataclassInstance")

#: The environment variable by which a shell asks for completions.
COMPLETE_VARIABLE = "_PIMC_COMPLETE"
_SEED_LIMIT = 2**63 - 1


@dataclass(frozen=True)
class Settings:
    """The options of every command."""

    json: bool = flag("--json", help="One JSON object on stdout.")
    seed: int = option(
        "--seed",
        type=click.IntRange(0, _SEED_LIMIT),
        default=0,
        help="Seed of everything that is drawn: dies, read noise, inputs.",
    )
    quiet: bool = flag("--quiet", "-q", help="No progress, and no summary after an act.")

    @property
    def progress(self) -> Progress:
        """How long work reports its progress."""
        return progress(quiet=self.quiet)

    def seeds(self, count: int) -> tuple[int, ...]:
        """Seeds of so many dies, from ``seed`` on."""
        return tuple((self.seed + number) % _SEED_LIMIT for number in range(count))


@dataclass(frozen=True)
class Report:
    """What a command has to say.

    Attributes:
        data: the JSON object.
        text: the same for people.
        exit_code: 1 where the check the user asked for failed.
        answer: the text is what the user asked for, so ``--quiet`` does not drop it.
    """

    data: Mapping[str, Any]
    text: str
    exit_code: int = 0
    answer: bool = True


def command(
    name: str,
    arguments: type[Arguments],
    function: Callable[[Settings, Arguments], Report],
    *,
    example: str,
    needs: tuple[str, ...] = (),
    slow: bool = False,
) -> click.Command:
    """A click command of a function; its docstring is the help text.

    Args:
        arguments: a dataclass of options (:mod:`pimc.cli.options.fields`).
        example: a line that a user may type; the help ends with it.
        needs: libraries of an extra (:mod:`pimc.extras`) that it does nothing without.
        slow: it takes seconds before it has anything to tell; what needs torch does anyway.

    Raises:
        TypeError: ``arguments`` declares something twice, or what is no option.
    """

    def call(**given: Any) -> int:
        settings = filled(Settings, given)
        require(*needs, what=f"pimc {name}")
        with listening(quiet=settings.quiet):
            if slow or "torch" in needs:
                waiting(f"pimc {name}: getting ready …")
            report = function(settings, filled(arguments, given))
        if settings.json:
            print(json.dumps(report.data, allow_nan=False, ensure_ascii=False))
        elif report.text and (report.answer or not settings.quiet):
            print(report.text)
        return report.exit_code

    return click.Command(
        name,
        callback=call,
        params=parameters(Settings, arguments),
        help=function.__doc__,
        epilog=f"\b\nExample:\n  {example}",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def note(text: str, settings: Settings) -> None:
    """Say something on stderr that is not part of the report."""
    if not settings.quiet:
        print(text, file=sys.stderr, flush=True)


def warned(warnings: Sequence[str]) -> list[str]:
    """Say warnings on stderr, also where it should be quiet: they are part of the result."""
    for text in warnings:
        print(f"warning: {text}", file=sys.stderr, flush=True)
    return list(warnings)
