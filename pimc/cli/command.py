"""A command: a function of settings and options that gives a report."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pimc.cli.log import Form, Level, Log, begin, current
from pimc.cli.options.fields import filled, flag, option, parameters, several
from pimc.cli.project.keys import ALWAYS, STEPS
from pimc.cli.project.parsing import ProjectCommand
from pimc.cli.telling import beating, told_of
from pimc.extras import require
from pimc.progress import Progress, progress, waiting

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from pimc.cli.project.given import Use

__all__ = ["COMPLETE_VARIABLE", "Report", "Settings", "command", "note", "warned"]

Arguments = TypeVar("Arguments", bound="DataclassInstance")

#: The environment variable by which a shell asks for completions.
COMPLETE_VARIABLE = "_PIMC_COMPLETE"
_SEED_LIMIT = 2**63 - 1
#: The parameter that does a step again.
_FORCE = "force"


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
    project: str | None = option(
        "--project",
        type=click.STRING,
        metavar="FILE",
        help="A project's pimc.toml [default: that of the current folder]; - for none.",
    )

    log_format: Form = option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        help="Messages on stderr as text, or as one JSON object a line.",
    )
    metrics: tuple[str, ...] = several(
        "--metrics",
        type=click.STRING,
        metavar="WHERE",
        help="Where metrics of steps go: FILE.csv, mlflow:URI, tensorboard:DIR; may be given"
        " again.",
    )
    verbose: bool = flag("--verbose", "-v", help="Also say what is read, written and decided.")

    @property
    def progress(self) -> Progress:
        """How long work reports its progress."""
        return beating() or progress(quiet=self.quiet or not self.bars)

    @property
    def bars(self) -> bool:
        """Whether progress is shown as bars, which only a terminal can."""
        return sys.stderr.isatty() and self.log_format == "text"

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
        name: as it is typed behind ``pimc``: ``compile``, ``chips import``.
        arguments: a dataclass of options (:mod:`pimc.cli.options.fields`).
        example: a line that a user may type; the help ends with it.
        needs: libraries of an extra (:mod:`pimc.extras`) that it does nothing without.
        slow: it takes seconds before it has anything to tell; what needs torch does anyway.

    Raises:
        TypeError: ``arguments`` declares something twice, or what is no option.
    """

    def call(**given: Any) -> int:
        from pimc.cli.project.given import used

        settings = filled(Settings, given)
        require(*needs, what=f"pimc {name}")
        use = used(click.get_current_context())
        least: Level = "warning" if settings.quiet else "debug" if settings.verbose else "info"
        log = begin(Log(name, settings.log_format, least))
        with told_of(log, given, bars=settings.bars) as ended:
            if slow or "torch" in needs:
                waiting(f"pimc {name}: getting ready …")
            report = _done_once(
                name, use, settings, given, lambda: function(settings, filled(arguments, given))
            )
            ended.append(report.exit_code)
        if settings.json:
            print(json.dumps(report.data, allow_nan=False, ensure_ascii=False))
        elif report.text and (report.answer or not settings.quiet):
            print(report.text)
        return report.exit_code

    declared = parameters(Settings, arguments)
    if name in STEPS - ALWAYS and all(one.name != _FORCE for one in declared):
        help = "In a project: also do what is up to date."
        declared.append(click.Option(["--force", _FORCE], is_flag=True, help=help))
    return ProjectCommand(
        name.rpartition(" ")[2],
        callback=call,
        params=declared,
        help=function.__doc__,
        epilog=f"\b\nExample:\n  {example}",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _done_once(
    name: str,
    use: Use | None,
    settings: Settings,
    given: Mapping[str, Any],
    run: Callable[[], Report],
) -> Report:
    """The report of a command; of a step of a project that is up to date that of the last time."""
    if name not in STEPS and settings.metrics:
        from pimc.errors import UsageError

        hint = f"leave it out; metrics are those of {', '.join(sorted(STEPS))}"
        raise UsageError(f"{name} has no metrics", where="--metrics", hint=hint)
    if name not in STEPS or (use is None and not settings.metrics):
        return run() if use is None else _told_of_project(run(), use, up_to_date=False)
    from pimc.cli.project.measured import measuring
    from pimc.cli.project.once import step_of

    measured = measuring(name, use, settings.metrics, given)
    if use is None:
        return measured(run)
    step = step_of(use, given)
    if step is None:
        return _told_of_project(measured(run), use, up_to_date=False)
    kept, why = step.up_to_date()
    if kept is not None and not given[_FORCE]:
        note(f"{name} is up to date, since {kept.since}; --force does it again", settings)
        said = kept.data.get("warnings")
        warned([str(text) for text in said] if isinstance(said, list) else [])
        last = Report(kept.data, kept.text if kept.answer else "", 0, answer=kept.answer)
        return _told_of_project(last, use, up_to_date=True)
    if why:
        note(f"{name} is done again: {why}", settings)
    return _told_of_project(measured(lambda: step.done(run)), use, up_to_date=False)


def _told_of_project(report: Report, use: Use, *, up_to_date: bool) -> Report:
    """A report that says which values came from the project file."""
    told = {"file": str(use.project.path), "options": use.filled, "up_to_date": up_to_date}
    text = f"{report.text}\n{use.told}" if report.text and use.told else report.text
    return replace(report, data={**report.data, "project": told}, text=text)


def note(text: str, settings: Settings) -> None:
    """Say something on stderr that is not part of the report."""
    if not settings.quiet:
        current().tell("info", "note", text)


def warned(warnings: Sequence[str]) -> list[str]:
    """Say warnings on stderr, also where it should be quiet: they are part of the result."""
    for text in warnings:
        current().tell("warning", "warning", text)
    return list(warnings)
