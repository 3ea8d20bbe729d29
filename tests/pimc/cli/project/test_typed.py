"""The command line is kept as it was typed, and without secrets."""

from __future__ import annotations

import click
import pytest

from pimc.cli.project.typed import keep_line, typed_line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["recover", "a.pimc", "--calib", "my data"], "pimc recover a.pimc --calib 'my data'"),
        (
            ["eval", "--metrics", "mlflow:https://me:secret@host/x"],
            "pimc eval --metrics 'mlflow:https://…@host/x'",
        ),
        (["eval", "--cluster", "tcp://me:p/w@x@host:1"], "pimc eval --cluster 'tcp://…@host:1'"),
        (["run", "--device", "a:b?key=s&n=2"], "pimc run --device 'a:b?key=…&n=…'"),
        (["eval", "--die", "caf\udce9.die"], "pimc eval --die 'caf\\udce9.die'"),
    ],
)
def test_a_line_is_what_a_shell_takes_again(words: list[str], line: str) -> None:
    with click.Context(click.Command("pimc")) as root:
        keep_line(root, words)
        with click.Context(click.Command("recover"), parent=root):
            assert typed_line() == line


def test_without_a_command_line_there_is_none() -> None:
    assert typed_line() is None
    with click.Context(click.Command("pimc")):
        assert typed_line() is None
