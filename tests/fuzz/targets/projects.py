"""Files of a project: pimc.toml, records of steps, fingerprints, metrics."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from random import Random

from pimc.cli.project.keys import SHARED
from pimc.errors import UsageError
from pimc.project.file import read_project
from pimc.project.hashes import Hashes
from pimc.project.metrics import CsvSink, Done
from pimc.project.steps import Present, Record, Steps
from tests.fuzz.oracle import Target
from tests.fuzz.raw import damaged
from tests.fuzz.targets.tables import cells_changed, toml_changed
from tests.fuzz.values import changed, text_of
from tests.released import write_samples

__all__ = ["MAKERS"]

_USAGE = frozenset({2})
_FILES = Path(write_samples.__file__).parent / "0.1.0"
_PROJECT = b"""model = "model.onnx"
chip = "generic-128"
seed = 7
metrics = ["m.csv"]
[check]
digital = ["w*"]
array-only = false
[layouts]
levels = 8
[recover]
budget = 5
"""


def _project_target() -> Target:
    return Target(
        "project",
        "pimc.toml",
        _USAGE,
        [_PROJECT, b"", b'model = "model.onnx"\n'],
        {"raw": damaged, "values": toml_changed},
        lambda path: read_project(path, SHARED),
        lambda path: ["check", "--project", path],
        beside={"model.onnx": write_samples.model().SerializeToString(deterministic=True)},
    )


_RECORD = Record(
    "1", "verify", {"samples": "4"}, {}, {"file:a.pimc": "a"}, {"file:b": "b"},
    {"file:c.die": (None, "c")}, {"ok": True}, "ok", True, "2026", 1.5,
)  # fmt: skip


def _json_changed(rng: Random, data: bytes) -> bytes:
    return text_of(json.dumps(changed(rng, json.loads(data)))).encode(errors="replace")


def _read_step(path: Path) -> None:
    steps = Steps(path.parent)
    found = steps.load(path.stem)
    if found is None:
        raise UsageError("the step is done again")
    present = Present("1", lambda label: "x", lambda name: {})
    steps.changed(found, dict(found.inputs), found.dies, present)
    json.dumps(found.data, allow_nan=False)


def _step_target() -> Target:
    sample = json.dumps({"format": 2, **asdict(_RECORD)}).encode()
    kinds = {"raw": damaged, "values": _json_changed}
    return Target(
        "step", "verify-1.json", _USAGE, [sample], kinds, _read_step, lambda path: ["chips"]
    )


def _hashes_target() -> Target:
    sample = json.dumps({"/a": [1, 2, 3, "d"]}).encode()
    kinds = {"raw": damaged, "values": _json_changed}

    def read(path: Path) -> None:
        found = Hashes(path)
        found.file(path)
        found.save()
        if not found.kept:
            raise UsageError("files are read again")

    return Target("hashes", "hashes.json", _USAGE, [sample], kinds, read, lambda path: ["chips"])


def _metrics_target() -> Target:
    done = Done("2026", "eval", True, 1.0, {"a": 0.5})
    sample = b"time,command,ok,seconds,a,b\n2026,eval,True,1,0.5,\n2026,verify,True,2,,1\n"
    return Target(
        "metrics",
        "m.csv",
        _USAGE,
        [sample],
        {"raw": damaged, "cells": cells_changed},
        lambda path: CsvSink(path).log(done),
        lambda path: ["verify", "tiny.pimc", "--metrics", path],
        beside={"tiny.pimc": (_FILES / "tiny.pimc").read_bytes()},
    )


MAKERS = {
    "project": _project_target,
    "step": _step_target,
    "hashes": _hashes_target,
    "metrics": _metrics_target,
}
