"""Commands on small files, and what must come of each however often it was cut."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from tests.released import write_samples

__all__ = ["JOBS", "Job", "prepare"]

#: Reads of this chip disturb its cells, so that captures write the die file, too.
_CHIP = write_samples.CHIP.with_array(8, 8)
Content = Callable[[Path], object]


@dataclass(frozen=True)
class Job:
    """One command.

    Attributes:
        words: its arguments.
        outputs: what is left of each of its files, for comparison.
        again: arguments that go on where it was cut; the same where there is nothing to go on
            from.
    """

    words: Sequence[str]
    outputs: Mapping[str, Content]
    again: Sequence[str] = field(default=())


def _bytes(path: Path) -> object:
    return path.read_bytes()


def _report(path: Path) -> object:
    """All but what a clock says, and how it was called."""
    report = json.loads(path.read_text())
    for name in ("seconds", "command_line"):
        report.pop(name, None)
    for stage in report["stages"]:
        stage.pop("seconds", None)
    return report


def _rows(path: Path) -> object:
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return sorted(sorted((k, v) for k, v in row.items() if k != "seconds") for row in rows)


_RECOVER = (
    "recover", "tiny.pimc", "--calib", "calib.npy", "--die", "held.die", "-o", "new.pimc",
    "--epochs", "1", "--rounds", "2",
)  # fmt: skip
_SWEEP = (
    "sweep", "model.onnx", "--chip", "chip.toml", "--calib", "calib.npy", "--data", "test.npz",
    "--over", "levels=4,16", "--dies", "2", "--jobs", "1", "-o", "s.csv",
)  # fmt: skip
_DIES = (
    "recover", "tiny.pimc", "--calib", "calib.npy", "--data", "test.npz", "--die", "held.die",
    "--die", "two.die", "-o", "new.pimc", "--epochs", "1", "--rounds", "1",
)  # fmt: skip
JOBS: Mapping[str, Job] = {
    "compile": Job(
        ("compile", "model.onnx", "--chip", "chip.toml", "--calib", "calib.npy", "-o", "new.pimc"),
        {"new.pimc": _bytes},
    ),
    "program": Job(
        ("program", "tiny.pimc", "--die", "new.die", "--seed", "7"),
        {"new.die": _bytes},
        ("program", "tiny.pimc", "--die", "new.die", "--seed", "7", "--resume"),
    ),
    "capture": Job(
        (
            "capture", "tiny.pimc", "--die", "held.die", "--calib", "calib.npy", "-o",
            "new.pimccap", "--vectors", "24", "--repeats", "2",
        ),
        {"new.pimccap": _bytes},
    ),
    "recover": Job(
        _RECOVER,
        {
            "new.pimc": _bytes, "held.die": _bytes, "new.cells.csv": _bytes,
            "new.report.json": _report,
        },
        (*_RECOVER, "--resume"),
    ),
    "dies": Job(
        _DIES,
        {
            "new.held.pimc": _bytes, "new.two.pimc": _bytes, "held.die": _bytes,
            "two.die": _bytes, "new.dies.csv": _bytes, "new.dies.png": _bytes,
            "new.two.report.json": _report,
        },
        (*_DIES, "--resume"),
    ),
    "sweep": Job(_SWEEP, {"s.csv": _rows}),
    "age": Job(("age", "1h", "--die", "held.die"), {"held.die": _bytes}),
}  # fmt: skip


def prepare(folder: Path) -> None:
    """Model, chip, data, image and a die that holds it."""
    from pimc.api import Options
    from pimc.api import compile as compile_model

    onnx.save(write_samples.model(), folder / "model.onnx")
    (folder / "chip.toml").write_text(_toml(_CHIP.to_dict()))
    np.save(folder / "calib.npy", write_samples.inputs(32, 1))
    y = np.arange(24) % 3
    np.savez(folder / "test.npz", x=write_samples.inputs(24, 2), y=y)
    options = Options(feedback=False)
    image = compile_model(
        folder / "model.onnx", _CHIP, calib=write_samples.inputs(32, 1), options=options
    )
    image.save(folder / "tiny.pimc")
    for name, seed in (("held", 7), ("two", 8)):
        die = Die.simulated(seed)
        Session(image, die=die)
        die.save(folder / f"{name}.die")


def _toml(table: Mapping[str, object]) -> str:
    """A chip as a file; tables below the first level inline."""
    flat = [f"{key} = {_value(v)}" for key, v in table.items() if not isinstance(v, Mapping)]
    for key, inner in table.items():
        if isinstance(inner, Mapping):
            flat += [f"[{key}]", *(f"{name} = {_value(v)}" for name, v in inner.items())]
    return "\n".join(flat) + "\n"


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(v)}" for key, v in value.items()) + "}"
    return json.dumps(value)
