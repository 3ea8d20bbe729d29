"""``pimc.toml``: what the commands of a project have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pimc.errors import UsageError
from pimc.files.strict import did_you_mean, read_table, read_toml, setting

__all__ = [
    "HINT",
    "NAME",
    "NO_PROJECT",
    "RECORDS",
    "Project",
    "Shared",
    "find_project",
    "read_project",
]

NAME = "pimc.toml"
#: The folder of what is noted of steps, beside the file.
RECORDS = ".pimc"
#: What ``--project`` says where none is to be used.
NO_PROJECT = "-"
HINT = "the keys are in docs/projects.md"


@dataclass(frozen=True)
class Shared:
    """Keys that several commands take; paths are relative to the file."""

    model: str | None = setting(None, "str", "the network, an ONNX file")
    image: str | None = setting(
        None, "str", "the image that is compiled; by default `MODEL.pimc` beside `pimc.toml`"
    )
    chip: str | None = setting(None, "str", "a shipped chip, or a chip file")
    calib: str | None = setting(None, "str", "calibration data")
    data: str | None = setting(None, "str", "labelled data")
    task: str | None = setting(None, "str", "what the outputs mean, and the metric")
    seed: int | None = setting(None, "int", "the seed of everything that is drawn", low=0)
    die: str | None = setting(None, "str", "the die that is programmed, captured and recovered")
    device: str | None = setting(None, "str", "the driver of the chip")
    metrics: tuple[str, ...] = setting(
        (),
        "strs",
        "where [metrics](#metrics) go besides `.pimc/metrics.csv`: `FILE.csv`, `mlflow:URI`,"
        " `tensorboard:DIR`",
    )

    @property
    def given(self) -> dict[str, Any]:
        """The keys that are there."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if value not in (None, ())}


@dataclass(frozen=True)
class Project:
    """What a project file says.

    Attributes:
        path: the file, as the user named it or as it was found.
        tables: options of a command by their long names, by the command's name.
    """

    path: Path
    shared: Shared
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """What relative paths are relative to."""
        return self.path.parent

    @property
    def records(self) -> Path:
        """The folder of what is noted of steps."""
        return self.folder / RECORDS

    @property
    def image(self) -> str | None:
        """The image that is compiled, as a path relative to the file; None where none is named."""
        if self.shared.image is not None or self.shared.model is None:
            return self.shared.image
        return f"{Path(self.shared.model).stem}.pimc"


def find_project(named: str | None) -> Path | None:
    """The file that was named, or the one in the current folder.

    Raises:
        UsageError: the one that was named is not there.
    """
    if named == NO_PROJECT:
        return None
    if named is None:
        return Path(NAME) if Path(NAME).is_file() else None
    path = Path(named) / NAME if Path(named).is_dir() else Path(named)
    if not path.exists():
        raise UsageError("no such project file", str(path), "make one with `pimc init`")
    return path


def read_project(path: Path, commands: Collection[str]) -> Project:
    """Read a project file.

    Args:
        commands: names that a table may have.

    Raises:
        UsageError: the file cannot be read, or a key or table is not known.
    """
    raw = read_toml(path, UsageError)
    tables = {name: value for name, value in raw.items() if isinstance(value, Mapping)}
    values, problems = read_table(
        Shared, {name: value for name, value in raw.items() if name not in tables}
    )
    known = {one.name for one in fields(Shared)}
    for name in tables:
        if name in known:
            problems.append(f"{name}: must be a value, not a table")
        elif name not in commands:
            problems.append(f"[{name}]: no command with a table{did_you_mean(name, commands)}")
    if problems:
        raise UsageError("; ".join(problems), where=str(path), hint=HINT)
    return Project(path, Shared(**values), tables)
