"""What files are is told by their bytes: every kind, and nothing of what is damaged or foreign."""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import save_file

from pimc.api import plan
from pimc.chip.design import Chip
from pimc.chip.fault_map import Fault, FaultMap
from pimc.files import container
from pimc.files.kinds.table import KINDS, WANTED, kind_of
from pimc.runtime.die.die import Die
from pimc.runtime.door.capture_file import Capture
from tests.conftest import ROOT, build_tiny_model


def archive(path: Path, *members: str) -> None:
    with zipfile.ZipFile(path, "w") as stream:
        for member in members:
            stream.writestr(member, b"")


def die(path: Path) -> None:
    specimen = Die.simulated(1)
    specimen.attach(Chip.default().with_array(4, 4), 1)
    specimen.save(path)


def recovery(path: Path) -> None:
    container.save(path, *container.seal("pimc-recovery", 3, {}, {"a": np.zeros(1)}))


def part(path: Path) -> None:
    container.save(path, *container.seal("pimc-recovery-part", 1, {}, {"a": np.zeros(1)}))


def dumped(path: Path) -> None:
    plan(build_tiny_model(), dump_dir=path.parent / "dump", stop_after="partition")
    found = sorted((path.parent / "dump").glob("*/plan.safetensors"))
    path.write_bytes(found[0].read_bytes())


def keras(path: Path) -> None:
    archive(path, "metadata.json", "config.json", "model.weights.h5")


def picture(path: Path) -> None:
    from PIL import Image

    Image.new("L", (4, 4)).save(path, "PNG")


def saved_model(path: Path) -> None:
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"\x08\x01")


def bytes_of(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def saved(things: object, **how: bool) -> Callable[[Path], None]:
    return lambda path: torch.save(things, path, **how)


def arrays(path: Path) -> None:
    stream = io.BytesIO()
    np.savez(stream, x=np.zeros(3))
    path.write_bytes(stream.getvalue())


IDX = b"\0\0\x08\x01\0\0\0\x02ab"
STATE = {"w": torch.zeros(2)}
MADE: Mapping[str, tuple[str, Callable[[Path], object]]] = {
    "die": ("die", die),
    "capture": ("capture", lambda path: Capture("0" * 64, "lab", {}, {}).save(path)),
    "checkpoint": ("checkpoint", recovery),
    "part of a checkpoint": ("checkpoint", part),
    "plan": ("plan", dumped),
    "weights": ("weights", lambda path: save_file({"w": np.zeros(2)}, path)),
    "torch": ("torch", saved(STATE)),
    "torch before zip": ("torch", saved(STATE, _use_new_zipfile_serialization=False)),
    "torchscript": ("torchscript", lambda path: archive(path, "m/data.pkl", "m/constants.pkl")),
    "exported": ("exported", lambda path: archive(path, "m/archive_format", "m/models/a.json")),
    "pickle": ("pickle", bytes_of(b"\x80\x04\x95rest")),
    "keras": ("keras", keras),
    "hdf5": ("keras", bytes_of(b"\x89HDF\r\n\x1a\nrest")),
    "tflite": ("tflite", bytes_of(b"\x1c\0\0\0TFL3rest")),
    "ort": ("ort", bytes_of(b"\x1c\0\0\0ORTMrest")),
    "saved model": ("saved model", saved_model),
    "npy": ("data", bytes_of(b"\x93NUMPY\x01\0rest")),
    "npz": ("data", arrays),
    "idx": ("data", bytes_of(gzip.compress(IDX))),
    "picture": ("picture", picture),
    "model": ("model", lambda path: onnx.save(build_tiny_model(), path)),
    "faults": ("faults", FaultMap((Fault(0, 1, None, "open"),)).save),
    "cells": ("cells", bytes_of(b"array,row,col,level_before,level_after,round\n")),
    "measured": ("measured", bytes_of(b"level,g_us\n0,1.5\n")),
    "measured means": ("measured", bytes_of(b"target_us,mean_us,sigma_us\n1,1,0\n")),
    "sweep": ("sweep", bytes_of(b"levels,image_sha256,point_sha256\n")),
    "recoveries": ("recoveries", bytes_of(b"die,source,image_sha256,parent_sha256\n")),
    "report": ("report", bytes_of(json.dumps({"sha256": "0", "stages": []}).encode())),
    "evaluation": (
        "evaluation", bytes_of(b'{"accuracy_mean": 0.5, "accuracy_per_die": [0.5]}'),
    ),
    "comparison": ("comparison", bytes_of(b'{"outcomes": [], "output": "x"}')),
    "journal": ("journal", bytes_of(b'{"image": "x", "device": "sim:0"}\n{"array": 0}\n')),
    "chip": ("chip", lambda path: path.write_bytes(shipped_chip())),
    "preprocessing": ("preprocessing", bytes_of(b"scale = 255.0\n")),
}  # fmt: skip


def shipped_chip() -> bytes:
    return (ROOT / "pimc" / "chip" / "shipped" / "ihp.toml").read_bytes()


def kind(path: Path) -> str | None:
    found = kind_of(path)
    return None if found is None else found.key


@pytest.mark.parametrize("what", MADE)
def test_every_kind_is_told_whatever_it_is_called(tmp_path: Path, what: str) -> None:
    wanted, make = MADE[what]
    make(path := tmp_path / "file.bin")
    assert kind(path) == wanted


def test_an_image_is_told(tiny_image, tmp_path: Path) -> None:
    tiny_image.save(tmp_path / "a.bin")
    assert kind(tmp_path / "a.bin") == "image"


def test_there_is_a_sample_of_every_kind_and_a_name_for_all_that_is_read() -> None:
    assert {key for key, _ in MADE.values()} | {"image"} == {row.key for row in KINDS}
    assert WANTED.keys() <= {row.key for row in KINDS}


@pytest.mark.parametrize("what", [what for what, (key, _) in MADE.items() if key == "model"])
def test_a_cut_file_is_of_no_kind(tmp_path: Path, what: str) -> None:
    MADE[what][1](path := tmp_path / "file.bin")
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert kind(path) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"these are my notes\n",
        b"\0" * 100,
        b"PK\x03\x04",
        b'{"a": ' * 100_000,
        b"\x08\x01",
        b"\xff" * 8 + b"{}",
        b"[1]\n",
        b"\x1f\x8b\x08\0",
    ],
)
def test_what_is_of_no_kind_raises_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.bin").write_bytes(content)
    assert kind(tmp_path / "file.bin") is None


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert kind(tmp_path / "pipe") is None
    assert kind(tmp_path) is None
    assert kind(tmp_path / "nowhere") is None
    assert kind(tmp_path / ("x" * 5000)) is None
