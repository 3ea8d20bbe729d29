"""The values that ``pimc.toml`` has for a command, as click's defaults."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from pimc.cli.options.values import FILE
from pimc.cli.project.keys import COMMON, RIVALS, SHARED
from pimc.errors import UsageError
from pimc.files.strict import did_you_mean
from pimc.project.file import HINT, Project

__all__ = ["SIMULATED", "Use", "defaults", "name_of", "used", "using"]

_META = "pimc.project"
#: Samples that a function yields: MODULE:FUNCTION.
_FUNCTION = re.compile(r"[\w.]+:\w+")
#: Drivers of simulated dies, which are files.
SIMULATED = re.compile(r"sim|cpu|cuda(:\d+)?|mps")


@dataclass(frozen=True)
class Use:
    """A project as one command uses it.

    Attributes:
        command: the command's name.
        commands: commands by their names.
        filled: the values that were taken from it, by the option that they are of.
    """

    project: Project
    command: str
    commands: Callable[[str], click.Command | None]
    filled: Mapping[str, str] = field(default_factory=dict)

    def says(self, command: str) -> dict[str, Any] | None:
        """What the file says for a command, by parameter; None where it says what cannot be."""
        found = self.commands(command)
        try:
            return None if found is None else defaults(found, command, self.project)
        except UsageError:
            return None

    @property
    def told(self) -> str:
        """One line: what came from the file."""
        options = "  ".join(f"{name} {value}" for name, value in self.filled.items())
        return f"{self.project.path}: {options}" if options else ""


def using(
    context: click.Context,
    project: Project,
    named: Collection[str],
    commands: Callable[[str], click.Command | None],
) -> None:
    """Have click take from a project what was not named on the command line.

    Args:
        named: parameters that were.
        commands: commands by their names.

    Raises:
        UsageError: the project says something of the command that it does not take.
    """
    name = name_of(context)
    found = defaults(context.command, name, project)
    dropped = {
        rival for names, rivals in RIVALS.get(name, ()) if names & set(named) for rival in rivals
    }
    left = {one: value for one, value in found.items() if one not in dropped | set(named)}
    for parameter in context.command.params:
        if parameter.name in left:
            _require(context, parameter, left[parameter.name], project)
    context.default_map = left
    context.meta[_META] = Use(project, name, commands)


def name_of(context: click.Context) -> str:
    """The command as it is typed behind ``pimc``: that of a group is no command of its own name."""
    return context.command_path.partition(" ")[2]


def used(context: click.Context) -> Use | None:
    """The project that the running command uses, with what was taken from it."""
    use: Use | None = context.meta.get(_META)
    if use is None:
        return None
    filled = {
        _flag(parameter): _text((context.default_map or {})[str(parameter.name)])
        for parameter in context.command.params
        if context.get_parameter_source(str(parameter.name)) is ParameterSource.DEFAULT_MAP
        and parameter.name not in COMMON
    }
    return replace(use, filled=filled)


def defaults(command: click.Command, name: str, project: Project) -> dict[str, Any]:
    """What a project says for a command, by parameter, paths resolved.

    Raises:
        UsageError: an option that the command does not take, or a value of another kind.
    """
    shared = project.shared.given | ({"image": project.image} if project.image else {})
    parameters = {str(one.name): one for one in command.params}
    table = SHARED.get(name, {})
    raw = {one: shared[key] for one, key in table.items() if key in shared}
    if "seed" in shared and "seed" in parameters:
        raw["seed"] = shared["seed"]
    raw |= _of_table(command, name, project)
    device = str(raw.get("device", "sim"))
    return {
        one: _resolved(parameters[one], value, project, device)
        for one, value in raw.items()
        if one in parameters
    }


def _of_table(command: click.Command, name: str, project: Project) -> dict[str, Any]:
    """The values of the command's own table, by parameter."""
    options = {
        long.removeprefix("--"): parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name not in COMMON
        for long in parameter.opts
        if long.startswith("--")
    }
    found: dict[str, Any] = {}
    problems = []
    for key, value in project.tables.get(name, {}).items():
        if key not in options:
            problems.append(f"{name}.{key}: no such option{did_you_mean(key, options)}")
        elif problem := _wrong_kind(options[key], value):
            problems.append(f"{name}.{key}: {problem}")
        else:
            found[str(options[key].name)] = value
    if problems:
        hint = f"the keys are the options of `pimc {name}`, without --"
        raise UsageError("; ".join(problems), str(project.path), hint)
    return found


def _wrong_kind(option: click.Option, value: object) -> str:
    """What is wrong with a value of TOML; nothing where a command line could say the same."""
    plain = str | int | float
    if option.is_flag:
        return "" if isinstance(value, bool) else f"must be true or false, not {value!r}"
    if isinstance(value, list):
        listed = all(isinstance(one, plain) and not isinstance(one, bool) for one in value)
        return "" if listed and value else f"must be a list of values, not {value!r}"
    if not isinstance(value, plain) or isinstance(value, bool):
        return f"must be a value, not {value!r}"
    return ""


def _resolved(parameter: click.Parameter, value: Any, project: Project, device: str) -> Any:
    """A value of the file as the command line would give it."""
    if isinstance(value, bool):
        return value
    values = [str(one) for one in (value if isinstance(value, list | tuple) else [value])]
    values = [_placed(parameter, one, project.folder, device) for one in values]
    return values if parameter.multiple or parameter.nargs == -1 else ",".join(values)


def _placed(parameter: click.Parameter, value: str, folder: Path, device: str) -> str:
    """A path relative to the file as one relative to the current folder; else the value."""
    name = parameter.name
    if name == "chip":
        is_file = value.endswith(".toml") or "/" in value
        return str(folder / value) if is_file else value
    if parameter.type is not FILE:
        return value
    if name in ("calib", "data") and _FUNCTION.fullmatch(value):
        return value
    if name in ("die", "named"):
        if not SIMULATED.fullmatch(device):
            return value  # what it means is the driver's business
        if value.startswith("@"):
            return f"@{folder / value[1:]}"
    return str(folder / value)


def _require(context: click.Context, parameter: click.Parameter, value: Any, of: Project) -> None:
    """Make sure that a value is one that the option takes."""
    try:
        parameter.type_cast_value(context, value)
    except click.BadParameter as cause:
        key = _flag(parameter).removeprefix("--")
        message = f"{key}: {cause.message.rstrip('.')}"
        raise UsageError(message, where=str(of.path), hint=HINT) from cause


def _flag(parameter: click.Parameter) -> str:
    """How a user calls a parameter."""
    long = [one for one in parameter.opts if one.startswith("--")]
    return long[0] if long else str(parameter.name)


def _text(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(_text(one) for one in value)
    return str(value)
