"""Pages of the tiny network, of its die and of tables, that tests of several modules look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pimc.image.format.notes import RecoveryNote
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.door.drivers import open_device
from pimc.runtime.door.program import program


@pytest.fixture(scope="session")
def tiny_die(tiny_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a die that holds the tiny network."""
    device = open_device("sim", tiny_image, seed=900)
    program(tiny_image, device)
    path = tmp_path_factory.mktemp("die") / "chip.die"
    device.save(path)  # type: ignore[attr-defined]
    return path


@pytest.fixture(scope="session")
def next_image(tiny_image: Image) -> Image:
    """The tiny network with two cells at other levels, as a recovery leaves it."""
    import numpy as np

    cells = np.flatnonzero(tiny_image.used)[[0, 40]]
    levels = tiny_image.levels.reshape(-1)[cells] ^ np.uint16(1)
    changed = tiny_image.updated(levels=levels, cells=cells)
    return changed.with_recovery(RecoveryNote(tiny_image.sha256, "sim:900", "selective", 2, 1))


@pytest.fixture
def told(next_image: Image) -> dict[str, Any]:
    """The report of a recovery, with what an enemy may write into it."""
    stage = {"agreement": 0.9, "cells_written": 0, "seconds": 1.0, "kept": False}
    return {
        "die": "sim:900",
        "strategy": "selective",
        "sha256": next_image.sha256,
        "output": "tiny.r1.pimc",
        "accuracy_before": 0.5,
        "accuracy_after": 0.9,
        "samples": 100,
        "float_accuracy": 0.95,
        "quantized_accuracy": 0.93,
        "cells_total": 1000,
        "cells_rewritten": 2,
        "basis": {"samples": 64, "held_out": 8, "limits": []},
        "verdict": {
            "gained": True, "loss_before": 1.0, "loss_after": 0.1, "hints": [],
            "why": ["<script>alert('why')</script>"],
        },
        "stages": [
            {**stage, "name": "as programmed", "loss": 1.0, "layer_errors": {"w1": 0.5, "w2": 2.0}},
            {**stage, "name": "rewriting", "loss": 0.1, "kept": True,
             "layer_errors": {"w1": 0.1, "w2": 0.3}},
        ],
        "floor": {
            "loss": 0.01, "samples": 8, "layer_samples": 8,
            "layers": [{"layer": "w1", "loss": 0.01, "noise": 0.25, "clipped": 0.0}],
        },
    }  # fmt: skip


@pytest.fixture
def folder(
    tmp_path: Path, tiny_image: Image, next_image: Image, tiny_die: Path, told: dict[str, Any]
) -> Path:
    """An image, its recovery with the next image, and the die, as commands leave them."""
    tiny_image.save(tmp_path / "tiny.pimc")
    next_image.save(tmp_path / "tiny.r1.pimc")
    (tmp_path / "tiny.r1.report.json").write_text(json.dumps(told))
    Die.load(tiny_die).save(tmp_path / "chip.die")
    return tmp_path
