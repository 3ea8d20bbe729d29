"""``pimc completion``: Completion of the command line for bash, zsh and fish."""

from __future__ import annotations

from dataclasses import dataclass

import click

from pimc.cli.command import COMPLETE_VARIABLE, Report, Settings, command
from pimc.cli.options.fields import argument

__all__ = ["COMMAND", "CompletionArguments", "completion"]


@dataclass(frozen=True)
class CompletionArguments:
    """What ``pimc completion`` takes."""

    shell: str = argument(type=click.Choice(["bash", "zsh", "fish"]))


def completion(settings: Settings, arguments: CompletionArguments) -> Report:
    """Print the script that teaches SHELL to complete commands, options, files and names.

    Names are those of chips, tasks, strategies, devices and networks of the zoo.

    The shell must run it when it starts. bash: add the line eval "$(pimc completion bash)" to
    ~/.bashrc. zsh: add eval "$(pimc completion zsh)" to ~/.zshrc, after compinit. fish: write it
    to ~/.config/fish/completions/pimc.fish.
    """
    from click.shell_completion import ShellComplete, get_completion_class

    found = get_completion_class(arguments.shell)
    assert found is not None  # click knows all three
    # Not the class's own: of bash it would run bash to see which version it is.
    script = ShellComplete.source(found(click.Group(), {}, "pimc", COMPLETE_VARIABLE)).strip()
    return Report({"shell": arguments.shell, "script": script}, script)


COMMAND = command("completion", CompletionArguments, completion, example="pimc completion bash")
