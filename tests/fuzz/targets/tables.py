"""Text: chips, fault maps, data.toml, sweeps and journals."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from pimc.chip.codebook import codebook
from pimc.chip.design import Chip
from pimc.chip.fault_map import FaultMap
from pimc.data.dataset import load_data
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import Journal
from pimc.runtime.door.sim import SimDevice
from pimc.studies.recoveries.columns import KEYS, columns_for, empty_row
from pimc.studies.recoveries.columns import read_rows as read_recoveries
from pimc.studies.recoveries.columns import write_rows as write_recoveries
from pimc.studies.recoveries.summary import summary_of
from pimc.studies.sweep_table import COLUMNS, key_of, parameters_of, read_rows, write_rows
from pimc.tasks.classification import CLASSIFICATION
from tests.fuzz.oracle import Target
from tests.fuzz.raw import damaged
from tests.fuzz.values import DEEP, changed, text_of
from tests.released import write_samples

__all__ = ["MAKERS", "cells_changed", "toml_changed"]

_USAGE = frozenset({2})
_FILES = Path(write_samples.__file__).parent / "0.1.0"


# --- TOML -------------------------------------------------------------------------------------


def _toml_value(value: Any) -> str:
    if value == DEEP:
        return "[" * 50_000 + "]" * 50_000
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{json.dumps(k)} = {_toml_value(v)}" for k, v in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, float):
        return str(value)
    return json.dumps("none" if value is None else value)


def _toml(value: Any) -> bytes:
    """A TOML file of a value; tables below the first level are written inline."""
    if not isinstance(value, dict):
        return _toml_value(value).encode()
    flat = {key: item for key, item in value.items() if not isinstance(item, dict)}
    lines = [f"{json.dumps(key)} = {_toml_value(item)}" for key, item in flat.items()]
    for key, table in value.items():
        if isinstance(table, dict):
            lines.append(f"[{json.dumps(key)}]")
            lines += [f"{json.dumps(k)} = {_toml_value(v)}" for k, v in table.items()]
    return "\n".join(lines).encode()


def toml_changed(rng: Random, data: bytes) -> bytes:
    return _toml(changed(rng, tomllib.loads(data.decode())))


def _read_chip(path: Path) -> None:
    chip = Chip.load(path)
    assert Chip.from_dict(chip.to_dict()).fingerprint == chip.fingerprint
    if chip.cell.levels <= 1024:
        codebook(chip)
    chip.spread_us(chip.cell.g_levels_us)


def _use_chip(path: Path) -> None:
    """A die of arrays that are small, whatever else there is of it."""
    chip = Chip.load(path).with_array(4, 4)
    die = Die.simulated(1)
    die.attach(chip, 1)
    die.program(np.arange(16), np.zeros(16, np.int64))
    die.age(60.0)
    die.held_us(np.arange(16))


def _chip_target() -> Target:
    shipped = [_toml(Chip.load(name).to_dict()) for name in Chip.shipped()]
    return Target(
        "chip",
        "mine.toml",
        _USAGE,
        shipped,
        {"raw": damaged, "values": toml_changed},
        _read_chip,
        lambda path: ["chips", path],
        _use_chip,
    )


_DATA_TOML = b"""layout = "NHWC"
scale = 255.0
mean = [0.5, 0.25]
std = [0.25, 0.5]
"""
_KINDS_TOML = (
    _DATA_TOML
    + b"""
[text]
tokenizer = "tokenizer.json"
window = 8
stride = 4
[sequences]
mask = ""
pad = 0.5
length = 3
[boxes]
units = "shares"
[audio]
front_end = "mfcc"
rate = 16000
seconds = 0.5
fft = 512
axes = "TC"
"""
)


def _read_data(path: Path) -> None:
    data = load_data(path.parent, input_shape=(None, 2, 6, 6))
    assert np.isfinite(data.all()).all()


def _npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, write_samples.inputs(3, 1).transpose(0, 2, 3, 1))
    return stream.getvalue()


def _data_toml_target() -> Target:
    return Target(
        "data-toml",
        "data.toml",
        _USAGE,
        [_DATA_TOML, _KINDS_TOML, b'scale = 255\nmean = 0.5\nlayout = "NHWC"\n'],
        {"raw": damaged, "values": toml_changed},
        _read_data,
        lambda path: ["verify", "tiny.pimc", "--data", "x.npy"],
        beside={"x.npy": _npy(), "tiny.pimc": (_FILES / "tiny.pimc").read_bytes()},
    )


# --- CSV --------------------------------------------------------------------------------------


def cells_changed(rng: Random, data: bytes) -> bytes:
    """A CSV file with other cells, lines or columns."""
    rows = list(csv.reader(io.StringIO(data.decode())))
    rows = changed(rng, rows)
    rows = rows if isinstance(rows, list) else [rows]
    text = io.StringIO()
    for row in rows:
        cells = [str(cell) for cell in row] if isinstance(row, list) else [str(row)]
        csv.writer(text, lineterminator="\n", quoting=rng.choice((0, 0, 1))).writerow(cells)
    return text.getvalue().encode(errors="replace")


_FAULTS = b"array,row,col,fault\n0,3,*,open\n1,2,1,stuck_gmax\n0,*,4,stuck_gmin\n"


def _read_faults(path: Path) -> None:
    FaultMap.load(path).held_us(write_samples.CHIP, 2)


def _faults_target() -> Target:
    return Target(
        "faults",
        "known.csv",
        _USAGE,
        [_FAULTS],
        {"raw": damaged, "cells": cells_changed},
        _read_faults,
        lambda path: ["check", "model.onnx", "--faults", path],
        beside={"model.onnx": write_samples.model().SerializeToString(deterministic=True)},
    )


@cache
def _rows() -> list[dict[str, Any]]:
    """Two points of a sweep, one of which could not be compiled."""
    filled: dict[type, Any] = {float: 0.5, int: 3, str: "a" * 64, list: [0.25, 0.75]}
    row = {name: filled[kind] for name, kind in COLUMNS.items()}
    good = {"levels": 16, "mapping.kind": "offset", **row, "error": "", "ir_drop": "first"}
    bad = {name: None if COLUMNS.get(name) is float else value for name, value in good.items()}
    bad["age_s"] = good["age_s"]
    return [good, {**bad, "levels": 8, "point_sha256": "", "error": "no, it cannot"}]


def _written(suffix: str) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"s{suffix}"
        write_rows(path, _rows())
        return path.read_bytes()


def _read_sweep(path: Path) -> None:
    for row in read_rows(path.with_name(path.name.removesuffix(".journal"))):
        hash(key_of(row))
        parameters_of(row)


def _sweep_command(output: str) -> list[str]:
    return ["sweep", "model.onnx", "--data", "t.npz", "--over", "levels=3", "-o", output]


def _sweep_target() -> Target:
    return Target(
        "sweep",
        "s.csv",
        _USAGE,
        [_written(".csv")],
        {"raw": damaged, "cells": cells_changed},
        _read_sweep,
        lambda path: _sweep_command("s.csv"),
        beside=_sweep_files(),
    )


def _parquet_changed(rng: Random, data: bytes) -> bytes:
    """A Parquet file of other columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = changed(rng, pq.read_table(io.BytesIO(data)).to_pydict())
    columns = table if isinstance(table, dict) else {"a": [1]}
    built: dict[str, Any] = {}
    for name, values in columns.items():
        try:
            built[name] = pa.array(values if isinstance(values, list) else [values])
        except (pa.ArrowException, ValueError, TypeError, OverflowError, UnicodeError):
            built[name] = pa.array([str(values).encode(errors="replace").decode()])
    longest = max(map(len, built.values()), default=0)
    fitting = {n: v for n, v in built.items() if len(v) == longest}
    stream = io.BytesIO()
    try:
        pq.write_table(pa.table(fitting), stream)
    except (pa.ArrowException, UnicodeError):  # what the library itself does not write
        return data
    return stream.getvalue()


def _parquet_target() -> Target:
    return Target(
        "parquet",
        "s.parquet",
        _USAGE,
        [_written(".parquet")],
        {"raw": damaged, "cells": _parquet_changed},
        _read_sweep,
        lambda path: _sweep_command("s.parquet"),
        beside=_sweep_files(),
    )


@cache
def _recoveries() -> list[dict[str, Any]]:
    """Two dies, one of which could not be recovered."""
    filled: dict[str, Any] = {"float": 0.5, "int": 3, "str": "a" * 64, "bool": True}
    row = {name: filled[KEYS[name].kind] for name in columns_for(CLASSIFICATION)}
    bad = {**empty_row(CLASSIFICATION), "seed": 3, "source": "b", "error": "no", "exit_code": 3}
    return [{**row, "error": "", "exit_code": 0}, bad]


def _recoveries_written() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "d.csv"
        write_recoveries(path, _recoveries(), CLASSIFICATION)
        return path.read_bytes()


def _read_recoveries(path: Path) -> None:
    rows = read_recoveries(path)
    if rows:
        summary_of([row for row in rows if "accuracy_after" in row], CLASSIFICATION.metric, 0.5)


def _recoveries_target() -> Target:
    files = {name: (_FILES / name).read_bytes() for name in ("tiny.pimc",)}
    return Target(
        "recoveries",
        "d.csv",
        _USAGE,
        [_recoveries_written()],
        {"raw": damaged, "cells": cells_changed},
        _read_recoveries,
        lambda path: [
            "recover", "tiny.pimc", "--calib", "x.npy", "--dies", "2", "--table", "d.csv",
            "--resume", "--strategy", "none",
        ],
        beside={"x.npy": _npy_inputs(), **files},
    )  # fmt: skip


def _npy_inputs() -> bytes:
    stream = io.BytesIO()
    np.save(stream, write_samples.inputs(20, 1))
    return stream.getvalue()


def _sweep_files() -> Mapping[str, bytes]:
    stream = io.BytesIO()
    np.savez(stream, x=write_samples.inputs(4, 1), y=np.arange(4) % 3)
    model = write_samples.model().SerializeToString(deterministic=True)
    return {"model.onnx": model, "t.npz": stream.getvalue()}


# --- journals ---------------------------------------------------------------------------------


def _lines_changed(rng: Random, data: bytes) -> bytes:
    """Lines of JSON with other values."""
    entries = changed(rng, [json.loads(line) for line in data.splitlines()])
    entries = entries if isinstance(entries, list) else [entries]
    return "".join(f"{text_of(json.dumps(entry))}\n" for entry in entries).encode()


def _sweep_journal_target() -> Target:
    lines = "".join(f"{json.dumps(row)}\n" for row in _rows())
    return Target(
        "sweep-journal",
        "s.csv.journal",
        _USAGE,
        [lines.encode()],
        {"raw": damaged, "values": _lines_changed},
        _read_sweep,
        lambda path: ["chips"],
    )


@cache
def _programmed() -> tuple[Image, SimDevice]:
    image = Image.load(_FILES / "tiny.pimc")
    return image, SimDevice(Die.load(_FILES / "tiny.die"), image.chip, image.arrays)


def _read_journal(path: Path) -> None:
    journal = Journal(path, *_programmed())
    assert all(isinstance(array, int) for array in journal.finished())
    with journal.open(resume=True) as done:
        done(1)


def _journal_target() -> Target:
    image, device = _programmed()
    head = {"image": image.sha256, "device": device.name}
    lines = "".join(f"{json.dumps(entry)}\n" for entry in (head, {"array": 0}, {"array": 1}))
    return Target(
        "journal",
        "tiny.die.journal",
        frozenset({3}),
        [lines.encode()],
        {"raw": damaged, "values": _lines_changed},
        _read_journal,
        lambda path: ["program", "tiny.pimc", "--die", "tiny.die", "--resume"],
        beside={name: (_FILES / name).read_bytes() for name in ("tiny.pimc", "tiny.die")},
    )


MAKERS = {
    "chip": _chip_target,
    "data-toml": _data_toml_target,
    "faults": _faults_target,
    "sweep": _sweep_target,
    "parquet": _parquet_target,
    "sweep-journal": _sweep_journal_target,
    "recoveries": _recoveries_target,
    "journal": _journal_target,
}
