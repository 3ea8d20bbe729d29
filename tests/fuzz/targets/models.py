"""ONNX models."""

from __future__ import annotations

from pathlib import Path

from pimc import api
from pimc.passes.graph.frontend import load_model
from tests.conftest import build_tiny_model
from tests.fuzz.oracle import Target
from tests.fuzz.protos import model_changed
from tests.fuzz.raw import damaged
from tests.released import write_samples

__all__ = ["MAKERS"]


def _read(path: Path) -> None:
    load_model(path)


def _compile(path: Path) -> None:
    api.compile(path, write_samples.CHIP)


def _target() -> Target:
    models = [write_samples.model(), build_tiny_model(), build_tiny_model(opset=11)]
    return Target(
        "onnx",
        "model.onnx",
        frozenset({2}),
        [model.SerializeToString(deterministic=True) for model in models],
        {"raw": damaged, "fields": model_changed},
        _read,
        lambda path: ["check", path],
        _compile,
    )


MAKERS = {"onnx": _target}
