"""The networks of the benchmark, and the files that contenders need to run one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper
from settings import ADC_BITS, COLS, DAC_BITS, LEVELS, READ_NOISE, ROWS, SEED, WRITE_ERROR

from pimc.api import Options, compile
from pimc.chip.design import Chip
from pimc.data.dataset import load_data
from pimc.errors import ChipError
from pimc.image.image import Image
from pimc.passes.graph.frontend import load_model
from pimc.passes.simplify.simplify import Simplify

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared" / "data" / "cifar10"
FASHION = ROOT / "models" / "fashion"

Array32 = npt.NDArray[np.float32]

#: What our rows that need an image of their own change of the chip, by contender.
VARIANTS: dict[str, dict[str, object]] = {
    "pimc": {},
    "pimc_quiet": {"read_noise.relative": 0.0},
    "pimc_bit_serial": {"dac.mode": "bit_serial"},
}


@dataclass(frozen=True)
class Network:
    """A network and inputs for it.

    Attributes:
        name: for people.
        model: ONNX file.
        calibration: (N, *input shape).
        inputs: (M, *input shape), enough for the largest batch.
        labelled: file of labelled data, or None.
        feedback: error-feedback rounding while compiling.
    """

    name: str
    model: Path
    calibration: Array32
    inputs: Array32
    labelled: Path | None = None
    feedback: bool = True


def trained(data: Path, samples: int) -> Network:
    """The trained network of a folder: ``*.onnx``, ``calib.npz``, ``test.npz``, ``data.toml``.

    Images are repeated where there are fewer than ``samples``.
    """
    (model,) = sorted(data.glob("*.onnx"))
    calib = load_data(data / "calib.npz", role="calib").subset(np.arange(64)).all()
    test = load_data(data / "test.npz", role="test")
    inputs = test.subset(np.arange(samples) % len(test)).all()
    return Network(model.stem, model, calib, inputs, data / "test.npz")


def resnet18(folder: Path, samples: int) -> Network:
    """ResNet-18 (He et al., 10.1109/CVPR.2016.90) at 224×224 with random weights."""
    path = folder / "resnet18.onnx"
    onnx.save(build_resnet18(SEED), path)
    rng = np.random.default_rng(SEED)
    calibration, inputs = (
        rng.standard_normal((count, 3, 224, 224)).astype(np.float32) for count in (2, samples)
    )
    return Network(path.stem, path, calibration, inputs, feedback=False)


class _Builder:
    """Adds nodes to a list; every method returns the name of its output."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def weight(self, *shape: int, gain: float = 2.0) -> str:
        """Normal weights of variance ``gain`` / fan-in (He et al., 10.1109/ICCV.2015.123)."""
        name, scale = f"w{len(self.weights)}", np.sqrt(gain / np.prod(shape[1:]))
        values = (scale * self.rng.standard_normal(shape)).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, x: str, inputs: int, outputs: int, size: int, stride: int, gain: float) -> str:
        weight, pad = self.weight(outputs, inputs, size, size, gain=gain), size // 2
        return self.node(
            "Conv", x, weight, kernel_shape=[size, size], strides=[stride] * 2, pads=[pad] * 4
        )

    def block(self, x: str, inputs: int, outputs: int, stride: int) -> str:
        """Two 3×3 convolutions beside a shortcut; the gains keep the variance from growing."""
        y = self.node("Relu", self.conv(x, inputs, outputs, 3, stride, 2.0))
        y = self.conv(y, outputs, outputs, 3, 1, 0.5)
        if stride > 1 or inputs != outputs:
            x = self.conv(x, inputs, outputs, 1, stride, 1.0)
        return self.node("Relu", self.node("Add", y, x))


def build_resnet18(seed: int) -> onnx.ModelProto:
    """ResNet-18, batch normalisation left out; input (N, 3, 224, 224), output (N, 1000)."""
    b = _Builder(seed)
    x = b.node("Relu", b.conv("x", 3, 64, 7, 2, 2.0))
    x = b.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inputs = 64
    for stage, outputs in enumerate((64, 128, 256, 512)):
        x = b.block(x, inputs, outputs, 2 if stage else 1)
        x = b.block(x, outputs, outputs, 1)
        inputs = outputs
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    b.nodes.append(helper.make_node("Gemm", [x, b.weight(1000, 512)], ["y"], transB=1))
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 224, 224])
    target = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1000])
    graph = helper.make_graph(b.nodes, "resnet18", [source], [target], b.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def chip(changes: dict[str, object]) -> Chip:
    """The chip that all contenders simulate, with ``changes``.

    Raises:
        ChipError: this version does not know a key.
    """
    base = Chip.default().with_array(ROWS, COLS).with_levels(LEVELS).with_sigma(WRITE_ERROR)
    converters = {"dac.bits": DAC_BITS, "adc.bits": ADC_BITS}
    return base.with_(**{**converters, "read_noise.relative": READ_NOISE, **changes})


def prepare(network: Network, folder: Path, contenders: Iterable[str]) -> None:
    """Write what contenders need: both ONNX files, and the image of every variant of the chip.

    A variant that this version does not know is written down as ``NAME.skip``, with the reason.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(network.model.read_bytes())
    folded = Simplify()(load_model(network.model), Chip.default())
    ir.save(folded.graph, folder / "folded.onnx")
    for name in VARIANTS.keys() & set(contenders):
        try:
            _image(network, chip(VARIANTS[name])).save(folder / f"{name}.pimc")
        except ChipError as error:
            (folder / f"{name}.skip").write_text(str(error), encoding="utf-8")


def _image(network: Network, on: Chip) -> Image:
    options = Options(feedback=network.feedback)
    return compile(network.model, on, calib=network.calibration, options=options)
