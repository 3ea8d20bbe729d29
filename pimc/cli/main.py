"""The entry point: finds the command, runs it, and turns every failure into one message."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

import click

from pimc.cli.command import COMPLETE_VARIABLE
from pimc.cli.failures import Failure, TerminatedError, failure_of
from pimc.cli.log import Log, begin, current, form_of
from pimc.cli.project.typed import keep_line
from pimc.cli.registry import ROOMS, commands

__all__ = ["main", "run"]

BROKEN_PIPE = 141


class _Group(click.Group):
    """The commands of the registry, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(commands())

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        entry = commands().get(name)
        return None if entry is None else entry.load()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in commands() and not args[0].startswith("-"):
            from pimc.files.strict import did_you_mean

            ctx.fail(f"no such command {args[0]!r}{did_you_mean(args[0], commands())}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, commands()))
        for room, heading in ROOMS.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [
                        (entry.name.ljust(width), entry.summary)
                        for entry in commands().values()
                        if entry.room == room
                    ]
                )


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pimc")
@click.option("--project", metavar="FILE", help="A project's pimc.toml; - for none.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    help="Messages on stderr as text, or as one JSON object a line.",
)
@click.option("--verbose", "-v", is_flag=True, help="Also say what is read, written and decided.")
def _pimc(**options: object) -> None:
    """Deployment compiler for multi-level RRAM compute-in-memory chips.

    ONNX in, chip image out; run it on simulated dies or a real chip; recover the accuracy that
    imprecise writing costs. `pimc COMMAND --help` explains a command.
    """


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    words = sys.argv[1:] if argv is None else argv
    asked = os.environ.get(COMPLETE_VARIABLE)
    if asked:
        sys.exit(_complete(asked))
    try:
        _heed_sigterm()
        # Imports make a million objects that stay; the collector would look at them over and over.
        gc.set_threshold(20_000, 20, 20)
        code = run(words)
    except TerminatedError as cause:  # between two steps of the report
        code = _reported(cause, words)
    # The work is done or reported; what is left to do is quickly done.
    _heed_no_more()
    # Else the interpreter looks for garbage in every imported module once more, for 0.15 s.
    gc.freeze()
    sys.exit(code)


def _complete(asked: str) -> int:
    """Answer a shell that completes a line; to what makes no sense there is nothing to add."""
    from click.shell_completion import shell_complete

    try:
        return shell_complete(_pimc, {}, "pimc", COMPLETE_VARIABLE, asked)
    except Exception:
        return 1


def _heed_sigterm() -> None:
    """End tidily when told to, as after Ctrl-C; at once when told again."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise TerminatedError

    with suppress(ValueError):  # not in the main thread
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, end)


def _heed_no_more() -> None:
    with suppress(ValueError):  # not in the main thread
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)


def run(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code. Failures are printed here and nowhere else."""
    debug = os.environ.get("PIMC_DEBUG", "0") not in ("", "0")
    if not debug:
        warnings.simplefilter("ignore")
    begin(Log(form=form_of(argv)))
    try:
        code = _invoke(list(argv) or ["--help"])
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _drop_stdout()
        return BROKEN_PIPE
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except BaseException as cause:
        if debug and not isinstance(cause, click.ClickException | KeyboardInterrupt | SystemExit):
            traceback.print_exc()
        return _reported(cause, argv)


def _reported(cause: BaseException, argv: Sequence[str]) -> int:
    """Report an exception; returns the exit code. What ends Python goes on."""
    failure = failure_of(cause)
    if failure is None:
        raise cause
    return _report(failure, as_json="--json" in argv)


def _invoke(argv: list[str]) -> int:
    # Not click's own main(): it would turn a broken pipe into exit code 1, which here says
    # that a check failed.
    line = list(argv)  # click takes the words out of its own
    with _pimc.make_context("pimc", argv) as context:
        keep_line(context, line)
        return int(_pimc.invoke(context) or 0)


def _report(failure: Failure, *, as_json: bool) -> int:
    try:
        if as_json:
            import json

            print(json.dumps({"error": failure.to_dict()}))
        sys.stdout.flush()
    except OSError:  # stdout itself is what failed
        _drop_stdout()
    log = current()
    text = failure.message if log.form == "json" else failure.text()
    log.tell("error", "failed", text, **failure.fields())
    return failure.exit_code


def _drop_stdout() -> None:
    """Nothing more can be written there, also not when Python ends."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
