"""What torch's two exporters write compiles, and means what ONNX Runtime says it means."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.runtime.graph.executor import Executor
from pimc.runtime.teacher import teacher_array
from pimc.studies.golden.verify import verify


class Residual(nn.Module):
    """Convolution and batch norm, twice, past which the input is added."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(2))
        self.depthwise, self.out = nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.norms[0](self.first(x)))
        x = nn.functional.silu(x + self.norms[1](self.second(x)))
        return self.out(nn.functional.hardswish(self.depthwise(x)).mean((2, 3)))


class UNet(nn.Module):
    """Down, up by a transposed convolution, and what was before beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.inner = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(8, 4, 2, 2), nn.Conv2d(8, 2, 1)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.down(x))
        y = torch.relu(self.inner(nn.functional.max_pool2d(x, 2)))
        return self.out(torch.cat([self.up(y), x], dim=1))


class Sequence(nn.Module):
    """A recurrent layer both ways, and its last step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.LSTM(12, 8, bidirectional=True, batch_first=True)
        self.out = nn.Linear(16, 5)

    def forward(self, x: Any) -> Any:
        y, _ = self.steps(x.flatten(2).transpose(1, 2).reshape(x.shape[0], -1, 12))
        return self.out(y[:, -1])


class Vision(nn.Module):
    """Patches through a layer of a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
        self.out = nn.Linear(16, 5)

    def forward(self, x: Any) -> Any:
        return self.out(self.layer(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


NETWORKS: dict[str, tuple[type[nn.Module], set[str]]] = {
    "residual": (Residual, {"Conv", "Gemm"}),
    "u-net": (UNet, {"Conv", "ConvTranspose"}),
    "sequence": (Sequence, {"LSTM", "Gemm"}),
    "vision": (Vision, {"Conv", "Gemm", "MatMul"}),
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The exporters warn of themselves and log."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("dynamo", "opset"), [(False, 14), (False, 17), (False, 20), (True, 18), (True, 22)]
)
@pytest.mark.parametrize("network", NETWORKS)
def test_exports(network: str, dynamo: bool, opset: int, tmp_path: Path) -> None:
    kind, wanted_ops = NETWORKS[network]
    torch.manual_seed(0)
    path, x = tmp_path / "net.onnx", torch.randn(2, 3, 8, 8)
    batch: dict[str, Any] = (
        {"dynamic_shapes": ({0: torch.export.Dim("N")},), "verbose": False}
        if dynamo
        else {"dynamic_axes": {"x": {0: "N"}}}
    )
    names: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"]}
    torch.onnx.export(
        kind().eval(), (x,), path, dynamo=dynamo, opset_version=opset, **names, **batch
    )
    image = compile_model(path, Chip.default().with_array(64, 64))
    ops = Counter(layer.op for layer in image.layers)
    assert set(ops) <= wanted_ops
    assert {"LSTM", "ConvTranspose"} & wanted_ops <= set(ops)
    feed = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32)
    (wanted,) = ort.InferenceSession(path).run(None, {"x": feed})
    with torch.inference_mode():
        executor = Executor(image.graph(), array=teacher_array(image))
        (found,) = executor.run({"x": torch.from_numpy(feed)}).values()
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)
    assert verify(image, {"x": feed}).ok
