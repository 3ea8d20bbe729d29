"""Models, images and data that tests of several folders share."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pimc.api import Options, compile
from pimc.chip.design import Chip
from pimc.image.image import Image

ROOT = Path(__file__).parent.parent
#: What commands say on stderr does not depend on how fast the machine is.
os.environ.setdefault("PIMC_LOG_EVERY", "100000")


def _initializer(name: str, rng: np.random.Generator, *shape: int) -> onnx.TensorProto:
    fan = np.prod(shape[1:]) if len(shape) > 1 else 16
    values = rng.standard_normal(shape) / np.sqrt(fan)
    return numpy_helper.from_array(values.astype(np.float32), name)


def build_tiny_model(*, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Conv (strided, padded), grouped Conv (dilated), Relu, pooling, Gemm; input (N, 2, 8, 8)."""
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node(
            "Conv", ["r1", "w2", "b2"], ["c2"], group=2, pads=[2, 2, 2, 2], dilations=[2, 2]
        ),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], transB=1),
    ]
    weights = [
        _initializer("w1", rng, 6, 2, 3, 3),
        _initializer("b1", rng, 6),
        _initializer("w2", rng, 8, 3, 3, 3),
        _initializer("b2", rng, 8),
        _initializer("w3", rng, 4, 8),
        _initializer("b3", rng, 4),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 2, 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 4])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., onnx.ModelProto]:
    """Makes the tiny convolutional network: ``tiny_model(opset=…, seed=…)``."""
    return build_tiny_model


@pytest.fixture(scope="session")
def tiny_inputs() -> np.ndarray:
    """(64, 2, 8, 8) float32 inputs of the tiny network."""
    return np.random.default_rng(1).standard_normal((64, 2, 8, 8)).astype(np.float32)


@pytest.fixture(scope="session")
def tiny_chip() -> Chip:
    """The default chip with small arrays, so that the tiny network takes several."""
    return Chip.default().with_array(16, 8)


@pytest.fixture(scope="session")
def tiny_image(tiny_inputs: np.ndarray, tiny_chip: Chip) -> Image:
    """The tiny network, calibrated, on small arrays."""
    return compile(build_tiny_model(), tiny_chip, calib=tiny_inputs)


@pytest.fixture(scope="session")
def dynamic_image(tiny_chip: Chip) -> Image:
    """The tiny network compiled without data: every input vector is scaled on its own."""
    return compile(build_tiny_model(), tiny_chip)


@pytest.fixture(scope="session")
def fashion() -> Path:
    """The folder of the shipped model and data."""
    return ROOT / "models" / "fashion"


@pytest.fixture(scope="session")
def fashion_image(fashion: Path) -> Image:
    """The shipped model, calibrated on a few images, quickly."""
    from pimc.data.dataset import load_data

    options = Options(feedback=False, calibration_images=64)
    return compile(fashion / "resnet8.onnx", calib=load_data(fashion), options=options)


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The only thing on stdout."""
        return json.loads(self.out)


@pytest.fixture(scope="session")
def pimc() -> Callable[..., Done]:
    """Runs a command in this process: ``pimc("info", path, "--json")``."""
    from pimc.cli.main import run

    def call(*arguments: object) -> Done:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run([str(argument) for argument in arguments])
        return Done(code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Install(Protocol):
    """Makes a package that can be imported and has entry points."""

    def __call__(
        self, package: str, group: str, entries: Mapping[str, str], source: str = ""
    ) -> None: ...


@pytest.fixture
def install(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package of one module; ``entries`` are names and what each names in it."""

    def make(package: str, group: str, entries: Mapping[str, str], source: str = "") -> None:
        folder = tmp_path_factory.mktemp(package)
        module = package.replace("-", "_")
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        lines = [f"{name} = {module}:{thing}" for name, thing in entries.items()]
        text = "\n".join([f"[{group}]", *lines, ""])
        (info / "entry_points.txt").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return make
