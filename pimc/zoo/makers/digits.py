"""Small networks trained here, in a minute, on the handwritten digits of scikit-learn."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from pimc.zoo.made import Array, Made
from pimc.zoo.wheels import Wheels

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["autoencoder", "cnn"]

_PACKAGE, _FILE = "scikit-learn", "sklearn/datasets/data/digits.csv.gz"
_SETTINGS = "scale = 16.0\n"
#: Pictures that train, those that calibrate, and what judges, in a drawn order.
_TRAIN, _CALIB = 1000, 1200
_SEED = 1
#: What the autoencoder has never seen.
_ANOMALY = 9


def cnn(wheels: Wheels) -> Made:
    """Two convolutions and a linear layer on digits of 8x8; trained on 1,000 of 1,797."""
    import torch
    from torch import nn

    x, y = _digits(wheels)
    x = x.reshape(-1, 1, 8, 8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(512, 10),
        )  # fmt: skip
        inputs, wanted = torch.from_numpy(x / 16), torch.from_numpy(y)
        _train(net, inputs[:_TRAIN], wanted[:_TRAIN], nn.functional.cross_entropy, epochs=40)
    halves = slice(_TRAIN, _CALIB), slice(_CALIB, None)
    calib, test = ({"x": x[part].astype(np.uint8), "y": y[part]} for part in halves)
    return Made(_exported(net, inputs[:1]), calib, test, _SETTINGS)


def autoencoder(wheels: Wheels) -> Made:
    """64 values through 8 and back, trained on the digits 0 to 8; a 9 is an anomaly."""
    import torch
    from torch import nn

    x, y = _digits(wheels)
    known = np.flatnonzero(y[:_TRAIN] != _ANOMALY)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        net = nn.Sequential(
            nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 8), nn.ReLU(),
            nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 64),
        )  # fmt: skip
        inputs = torch.from_numpy(x / 16)
        _train(net, inputs[known], inputs[known], nn.functional.mse_loss, epochs=200)
    held = np.flatnonzero(y[:_CALIB] != _ANOMALY)[-256:]
    calib = {"x": x[held].astype(np.uint8)}
    judged = {"x": x[_CALIB:].astype(np.uint8), "y": (y[_CALIB:] == _ANOMALY).astype(np.uint8)}
    return Made(_exported(net, inputs[:1]), calib, judged, _SETTINGS)


def _digits(wheels: Wheels) -> tuple[Array, Array]:
    """Pixels (N, 64) from 0 to 16 and classes (N,), in a drawn order."""
    table = np.loadtxt(
        io.BytesIO(gzip.decompress(wheels.read(_PACKAGE, _FILE))), delimiter=",", dtype=np.float32
    )
    table = table[np.random.default_rng(0).permutation(len(table))]
    return table[:, :-1], table[:, -1].astype(np.int64)


def _train(net: nn.Module, x: torch.Tensor, y: torch.Tensor, loss: Any, *, epochs: int) -> None:
    """Adam over batches of 64 in a drawn order."""
    import torch

    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    order = np.random.default_rng(_SEED)
    for _ in range(epochs):
        for batch in np.array_split(order.permutation(len(x)), max(len(x) // 64, 1)):
            optimizer.zero_grad()
            loss(net(x[batch]), y[batch]).backward()
            optimizer.step()


def _exported(net: nn.Module, example: torch.Tensor) -> bytes:
    import warnings

    import torch

    stream = io.BytesIO()  # the exporter takes one, though its types name paths alone
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        torch.onnx.export(
            net.eval(), (example,), stream,  # type: ignore[arg-type]
            dynamo=False, opset_version=17, input_names=["x"], output_names=["out"],
            dynamic_axes={"x": {0: "N"}, "out": {0: "N"}},
        )  # fmt: skip
    return stream.getvalue()
