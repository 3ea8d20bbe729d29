"""A module of a room is a command if its first line says so."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click
import pytest

from pimc.cli import registry
from pimc.cli.registry import ROOMS, commands

CLI = Path(registry.__file__).parent


def test_no_command_is_left_out() -> None:
    modules = [
        import_module(f"pimc.cli.{room}.{path.stem}")
        for room in ROOMS
        for path in (CLI / room).glob("[!_]*.py")
    ]
    declared = [vars(module)["COMMAND"] for module in modules if "COMMAND" in vars(module)]
    listed = [entry.load() for entry in commands().values()]
    below = [one for group in listed if isinstance(group, click.Group)
             for one in group.commands.values()]  # fmt: skip
    assert len(listed) >= 16
    assert {id(one) for one in declared} <= {id(one) for one in [*listed, *below]}
    assert {id(one) for one in listed} <= {id(one) for one in declared}


def test_every_room_has_commands() -> None:
    assert {entry.room for entry in commands().values()} == set(ROOMS)
    packages = {path.parent.name for path in CLI.glob("*/__init__.py")}
    assert packages == {*ROOMS, "options", "project"}


@pytest.mark.parametrize("name", commands())
def test_a_command_is_called_as_its_module(name: str) -> None:
    entry = commands()[name]
    assert entry.load().name == entry.name == name
    assert (Path(__file__).parent / entry.room / f"test_{name}.py").is_file()
    assert entry.summary[0].isupper()
    assert not entry.summary.endswith(".")


def test_a_module_becomes_a_command_by_its_first_line(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "looking").mkdir()
    lines = {
        "report": '"""``pimc report``: Pictures of an image."""\n\nCOMMAND = None\n',
        "views": '"""``pimc views``: Longer.\n\nMore.\n"""\n',
        "helper": '"""What ``pimc report`` shows."""\n',
        "other": '"""``pimc report``: Of another name."""\n',
        "part": '"""``pimc report part``: No command of its own."""\n',
        "empty": "",
    }
    for name, text in lines.items():
        (tmp_path / "looking" / f"{name}.py").write_text(text)
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "registry.py"))
    assert [(entry.name, entry.summary) for entry in registry._commands_of("looking")] == [
        ("report", "Pictures of an image"),
        ("views", "Longer"),
    ]
