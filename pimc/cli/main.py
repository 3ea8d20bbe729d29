"""The entry point: finds the command, runs it, and turns every failure into one message."""

from __future__ import annotations

import errno
import gc
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

import click

from pimc.errors import PimcError

__all__ = ["COMMANDS", "main"]

INTERRUPTED = 130
BROKEN_PIPE = 141

#: Command → where it is defined and its line in the help. The modules are imported when a
#: command runs, so that ``pimc --help`` does not wait for torch.
COMMANDS: dict[str, tuple[str, str]] = {
    "compile": ("pimc.cli.compile:compile_", "ONNX model to chip image"),
    "layouts": ("pimc.cli.layouts:layouts", "Arrays against read steps, copies of layers"),
    "check": ("pimc.cli.compile:check", "What of a model goes on the array, and why not the rest"),
    "info": ("pimc.cli.look:info", "Look into an image"),
    "diff": ("pimc.cli.look:diff", "Compare two images: the cells to rewrite"),
    "verify": ("pimc.cli.verify:verify", "Ideal runtime against the golden model, layer by layer"),
    "program": ("pimc.cli.program:program", "Write an image into a chip or a die file"),
    "age": ("pimc.cli.program:age", "Let time pass for a die file"),
    "run": ("pimc.cli.run:run", "Outputs for inputs"),
    "eval": ("pimc.cli.run:eval_", "Accuracy on labelled data over one or many dies"),
    "sweep": ("pimc.cli.sweep:sweep", "Accuracy and cost over a grid of chip parameters"),
    "capture": ("pimc.cli.capture:capture", "Record what a die really computes"),
    "recover": ("pimc.cli.recover:recover", "Make a programmed die accurate again"),
    "chips": ("pimc.cli.chips:chips", "Shipped chips; a chip file from measured data"),
    "ops": ("pimc.cli.listing:ops", "Which operators go on the array"),
    "devices": ("pimc.cli.listing:devices", "Installed device drivers"),
}


class _Group(click.Group):
    """Commands of the table above, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name][0].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from pimc.files.strict import did_you_mean

            ctx.fail(f"no such command {args[0]!r}{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pimc")
def _pimc() -> None:
    """Deployment compiler for multi-level RRAM compute-in-memory chips.

    ONNX in, chip image out; run it on simulated dies or a real chip; recover the accuracy that
    imprecise writing costs. `pimc COMMAND --help` explains a command.
    """


@dataclass(frozen=True)
class _Failure:
    """A failure in a user's terms."""

    exit_code: int
    message: str
    where: str | None = None
    hint: str | None = None

    def text(self) -> str:
        head = f"error: {self.where}: {self.message}" if self.where else f"error: {self.message}"
        return f"{head}\n  hint: {self.hint}" if self.hint else head


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    code = run(sys.argv[1:] if argv is None else argv)
    # Else the interpreter looks for garbage in every imported module once more, for 0.15 s.
    gc.freeze()
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code. Failures are printed here and nowhere else."""
    debug = os.environ.get("PIMC_DEBUG", "0") not in ("", "0")
    if not debug:
        warnings.simplefilter("ignore")
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
        failure = _failure(cause)
        if failure is None:
            raise
        return _report(failure, as_json="--json" in argv)


def _invoke(argv: list[str]) -> int:
    # Not click's own main(): it would turn a broken pipe into exit code 1, which here says
    # that a check failed.
    with _pimc.make_context("pimc", argv) as context:
        return int(_pimc.invoke(context) or 0)


def _report(failure: _Failure, *, as_json: bool) -> int:
    try:
        if as_json:
            import json

            error = {name: getattr(failure, name) for name in ("message", "where", "hint")}
            print(json.dumps({"error": error | {"exit_code": failure.exit_code}}))
        sys.stdout.flush()
    except OSError:  # stdout itself is what failed
        _drop_stdout()
    print(failure.text(), file=sys.stderr, flush=True)
    return failure.exit_code


def _failure(cause: BaseException) -> _Failure | None:
    shortage = _memory_shortage(cause)
    if shortage is not None:
        return _from_memory(shortage)
    for kind, describe in _FAILURES:
        if isinstance(cause, kind):
            return describe(cause)
    return None


def _from_pimc(cause: PimcError) -> _Failure:
    return _Failure(cause.exit_code, cause.message, cause.where, cause.hint)


def _from_click(cause: click.ClickException) -> _Failure:
    context = getattr(cause, "ctx", None)
    path = context.command_path if context is not None else "pimc"
    return _Failure(2, cause.format_message().rstrip("."), hint=f"see `{path} --help`")


def _from_interrupt(cause: BaseException) -> _Failure:
    return _Failure(INTERRUPTED, "interrupted")


def _from_os(cause: OSError) -> _Failure:
    full = cause.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "free space or choose another disk" if full else "check the path and its permissions"
    where = None if cause.filename is None else str(cause.filename)
    return _Failure(2, cause.strerror or str(cause) or type(cause).__name__, where, hint)


def _memory_shortage(cause: BaseException | None) -> BaseException | None:
    """The failed allocation among the causes of a failure; libraries report it in their way."""
    while cause is not None:
        if isinstance(cause, MemoryError) or (
            isinstance(cause, RuntimeError) and any(said in str(cause) for said in _NO_MEMORY)
        ):
            return cause
        cause = cause.__cause__
    return None


#: What torch (on the CPU, on a GPU) and ONNX Runtime say when memory runs out.
_NO_MEMORY = ("can't allocate memory", "out of memory", "Failed to allocate memory", "bad_alloc")


def _from_memory(cause: BaseException) -> _Failure:
    said = str(cause).rpartition("can't allocate memory: ")[2].strip().partition("\n")[0]
    return _Failure(
        2,
        f"not enough memory{f': {said}' if said else ''}",
        hint="use less data at a time (--batch-size or --limit where the command has them), "
        "or a machine with more memory",
    )


def _from_anything(cause: Exception) -> _Failure:
    return _Failure(
        2,
        f"internal error: {type(cause).__name__}: {cause}",
        hint="PIMC_DEBUG=1 shows the traceback; please report it",
    )


#: What can go wrong, the first that fits; anything else ends Python as it would without us.
_FAILURES: tuple[tuple[type[BaseException], Callable[..., _Failure]], ...] = (
    (PimcError, _from_pimc),
    (click.ClickException, _from_click),
    (click.Abort, _from_interrupt),
    (KeyboardInterrupt, _from_interrupt),
    (OSError, _from_os),
    (Exception, _from_anything),
)


def _drop_stdout() -> None:
    """Nothing more can be written there, also not when Python ends."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
