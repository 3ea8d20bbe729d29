"""``pimc init``: Write pimc.toml from what lies in a folder."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimc.cli.command import Report, Settings, command
from pimc.cli.options.fields import flag, option
from pimc.cli.options.values import CHIP, FILE, TASK
from pimc.cli.text import facts

if TYPE_CHECKING:
    from pimc.data.dataset import Role

__all__ = ["COMMAND", "InitArguments", "init"]

#: Folders that may hold data, those looked at first.
_DATA_FOLDERS = ("data", "dataset")
#: What the current folder holds where it is itself the folder of data, by what that is for.
_HERE = {
    "calib": ("calib.npz", "calib.jsonl", "train-images-idx3-ubyte.gz"),
    "test": ("test.npz", "test.jsonl", "t10k-images-idx3-ubyte.gz"),
}


@dataclass(frozen=True)
class InitArguments:
    """What ``pimc init`` takes."""

    model: Path | None = option(
        "--model", type=FILE, metavar="MODEL.onnx", help="The network; else the only one there."
    )
    chip: str | None = option(
        "--chip", type=CHIP, metavar="NAME|FILE", help="A shipped chip or a chip file."
    )
    calib: Path | None = option("--calib", type=FILE, metavar="DATA", help="Calibration data.")
    data: Path | None = option("--data", type=FILE, metavar="DATA", help="Labelled data.")
    task: str | None = option("--task", type=TASK, metavar="NAME", help="What the outputs mean.")
    force: bool = flag("--force", help="Replace a pimc.toml that is there.")


def init(settings: Settings, arguments: InitArguments) -> Report:
    """Write pimc.toml from what lies in the current folder.

    It looks for an ONNX file, chip.toml, and data: calib.npz, test.npz and whatever else
    docs/data.md lists, here or in data/. From then on `pimc compile`, `pimc recover` and the
    others take from it what is not said on the command line.
    """
    from pimc.errors import UsageError
    from pimc.files.writing.atomic import replacing
    from pimc.project.file import NAME

    path = Path(NAME)
    if path.exists() and not arguments.force:
        raise UsageError("is there already", str(path), "edit it, or replace it with --force")
    found = dict(_found(settings, arguments))
    text = _toml(found)
    tomllib.loads(text)
    with replacing(path) as stream:
        stream.write(text.encode())
    missing = [key for key in ("model", "calib", "data") if key not in found]
    pairs = [(key, str(value)) for key, value in found.items()]
    pairs += [("not found", ", ".join(missing))] if missing else []
    pairs += [("written", str(path)), ("next", _next(found))]
    data = {"output": str(path), "keys": found, "missing": missing}
    return Report(data, facts(pairs), answer=False)


COMMAND = command("init", InitArguments, init, example="pimc init --chip generic-128")


def _found(settings: Settings, arguments: InitArguments) -> Iterator[tuple[str, Any]]:
    """The keys in the order of the file."""
    model = arguments.model or _model()
    if model is not None:
        yield "model", model.as_posix()
    chip = arguments.chip or ("chip.toml" if Path("chip.toml").is_file() else None)
    if chip is not None:
        yield "chip", chip
    calib, data = _data("calib"), _data("test")
    if data == calib:
        data = None  # what is calibrated on tells no accuracy
    for key, place in (
        ("calib", arguments.calib or (calib and calib[0])),
        ("data", arguments.data or (data and data[0])),
    ):
        if place is not None:
            yield key, place.as_posix()
    if arguments.task is not None:
        yield "task", arguments.task
    yield "seed", settings.seed


def _model() -> Path | None:
    """The only ONNX file here.

    Raises:
        UsageError: there are several.
    """
    from pimc.errors import UsageError

    found = sorted(path for path in Path().glob("*.onnx") if path.is_file())
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UsageError(f"there are {len(found)} networks here", names, "name one with --model")
    return found[0] if found else None


def _data(role: Role) -> tuple[Path, Path] | None:
    """The folder that holds data for a role, and the file or folder that is meant by it."""
    from pimc.data.kinds.find import find_source
    from pimc.errors import DataError

    for folder in map(Path, _DATA_FOLDERS):
        if folder.is_dir():
            try:
                return folder, find_source(folder, role).path
            except DataError:
                continue
    return next(((Path(), Path(name)) for name in _HERE[role] if Path(name).is_file()), None)


def _toml(found: dict[str, Any]) -> str:
    """The file, with what may be said besides as comments."""
    lines = ["# What the commands of this folder have in common: docs/projects.md lists the keys."]
    lines += [f"{key} = {_value(value)}" for key, value in found.items()]
    return "\n".join([*lines, "", _MORE])


def _value(value: str | int) -> str:
    """A value of TOML; JSON's strings are TOML's, too."""
    import json

    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


_MORE = """\
# Options of a single command go into a table of its name, without the dashes:
# [compile]
# levels = 16
# [eval]
# dies = 5
# [recover]
# budget = 10
"""


def _next(found: dict[str, Any]) -> str:
    if "model" not in found:
        return "say in pimc.toml which model is meant"
    return "pimc compile && pimc recover" if "calib" in found else "pimc compile"
