"""Train the shipped Fashion-MNIST network and write it with its data sample.

Usage: ``python models/build_fashion.py [--data FOLDER] [--out FOLDER]``. Writes
``resnet8.onnx``, ``calib.npz``, ``test.npz``, ``data.toml`` and ``README.md``;
the README holds the accuracies just measured and the SHA-256 of every file.

No test image takes part in training or in any choice. The calibration images
are training images that the weights were *not* trained on, so they also serve
to compare recipes (``--dry-run`` prints that accuracy and writes nothing).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from fashion_data import CLASSES, SIDE, Labelled, balanced, npz, read_split
from fashion_readme import Figures, readme_text
from torch import Tensor, nn
from torch.nn import functional

from pimc.errors import PimcError, UsageError
from pimc.files.writing.atomic import replacing

MIN_STEPS = 8
OPSET = 17
CHANNELS = (16, 32, 64)
MOMENTUM = 0.9
SCALE, MEAN, STD = 255.0, 0.2860, 0.3530
DATA_FOLDER = Path("/usr/share/datasets/fashion-mnist")
DATA_TOML = f"""\
# How stored values become the network's input: (x / scale - mean) / std, channel by channel.
layout = "NCHW"
scale = {SCALE}
mean = [{MEAN:.4f}]
std = [{STD:.4f}]
"""


@dataclass(frozen=True)
class Recipe:
    """Everything the trained weights depend on, besides the data and the machine."""

    seed: int = 1
    epochs: int = 18
    batch: int = 128
    max_lr: float = 0.15
    weight_decay: float = 5e-4
    shift: int = 2
    sample: int = 2000
    threads: int = 2


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where shapes change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet8(nn.Module):
    """Residual network after He et al. (10.1109/CVPR.2016.90), one block a stage."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = CHANNELS
        self.conv = nn.Conv2d(1, first, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(first)
        self.layer1 = Block(first, first, 1)
        self.layer2 = Block(first, second, 2)
        self.layer3 = Block(second, third, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(third, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (N, 1, 28, 28) to logits (N, 10)."""
        y = functional.relu(self.bn(self.conv(x)))
        y = self.layer3(self.layer2(self.layer1(y)))
        logits: Tensor = self.fc(torch.flatten(self.pool(y), 1))
        return logits


def augment(x: Tensor, shift: int, rng: torch.Generator) -> Tensor:
    """Shift each image of (N, 1, H, W) by up to ``shift`` pixels and mirror every second one."""
    count, _, height, width = x.shape
    windows = functional.pad(x, (shift,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    dy, dx = torch.randint(2 * shift + 1, (2, count), generator=rng)
    moved = windows[torch.arange(count), :, dy, dx]
    mirror = torch.rand(count, 1, 1, 1, generator=rng) < 0.5
    return torch.where(mirror, moved.flip(-1), moved)


def normalise(x: Tensor) -> Tensor:
    """uint8 pixels to network input, as ``data.toml`` says."""
    return (x.float() / SCALE - MEAN) / STD


def train(data: Labelled, recipe: Recipe) -> ResNet8:
    """A network trained on ``data`` with SGD and a one-cycle learning rate; in eval mode.

    Raises:
        UsageError: too few images and epochs for the learning rate to go up and down.
    """
    steps = len(data.y) // recipe.batch
    if steps * recipe.epochs < MIN_STEPS:
        raise UsageError(
            f"{len(data.y)} images, {recipe.epochs} epochs and batches of {recipe.batch} "
            f"make fewer than {MIN_STEPS} training steps",
            hint="more epochs or a smaller batch",
        )
    torch.manual_seed(recipe.seed)
    rng = torch.Generator().manual_seed(recipe.seed)
    model = ResNet8()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Batch norm scales and biases are not decayed: decay would only fight the normalisation.
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(
        groups, recipe.max_lr, MOMENTUM, weight_decay=recipe.weight_decay, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.max_lr, total_steps=steps * recipe.epochs, pct_start=0.25
    )
    x, y = torch.tensor(data.x), torch.tensor(data.y.astype(np.int64))
    for epoch in range(recipe.epochs):
        start, total = time.perf_counter(), 0.0
        order = torch.randperm(len(y), generator=rng)[: steps * recipe.batch]
        for index in order.reshape(steps, recipe.batch):
            images = normalise(augment(x[index], recipe.shift, rng))
            images = images.contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(model(images), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        seconds = time.perf_counter() - start
        print(f"epoch {epoch + 1}: loss {total / steps:.4f}, {seconds:.0f} s", file=sys.stderr)
    model.eval()
    return model


def export(model: ResNet8) -> bytes:
    """The model as ONNX bytes: batch norms kept, weights inside, any batch size."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The TorchScript exporter is marked as ageing; it is the one that needs no extra package.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model.to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]
            (torch.zeros(1, 1, SIDE, SIDE),),
            buffer,  # type: ignore[arg-type]
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
            opset_version=OPSET,
            # PRESERVE on a model in eval mode: EVAL would fold the batch norms.
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            dynamo=False,
        )
    return buffer.getvalue()


def accuracy(model: bytes, data: Labelled) -> float:
    """Share of ``data`` that ONNX Runtime classifies rightly with ``model``."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    hits = 0
    for start in range(0, len(data.y), 500):
        x = normalise(torch.tensor(data.x[start : start + 500])).numpy()
        (logits,) = session.run(["logits"], {"input": x})
        hits += int((logits.argmax(1) == data.y[start : start + 500]).sum())
    return hits / len(data.y)


def build(data: Path, out: Path | None, recipe: Recipe) -> None:
    """Train, measure and write everything into ``out``; with ``out`` None only report.

    Raises:
        DataError: Fashion-MNIST is missing or damaged in ``data``, or too small to sample.
        UsageError: the recipe makes too few training steps, or a file cannot be written.
        OSError: ``out`` cannot be made.
    """
    torch.set_num_threads(recipe.threads)
    everything, test = read_split(data, "train"), read_split(data, "t10k")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)  # what cannot be is found before the training
    rng = np.random.default_rng(recipe.seed)
    held = balanced(everything.y, recipe.sample, rng)
    shown = balanced(test.y, recipe.sample, rng)
    rest = np.setdiff1d(np.arange(len(everything.y)), held)
    start = time.perf_counter()
    trained = train(everything.take(rest), recipe)
    seconds = time.perf_counter() - start
    model, calib = export(trained), everything.take(held)
    print(f"held-out training images: {accuracy(model, calib):.2%}", file=sys.stderr)
    if out is None:
        return
    files = {
        "resnet8.onnx": model,
        "calib.npz": npz(calib),
        "test.npz": npz(test.take(shown)),
        "data.toml": DATA_TOML.encode(),
    }
    figures = Figures(
        parameters=sum(p.numel() for p in trained.parameters()),
        trained_on=len(rest),
        seconds=seconds,
        recipe=str(recipe),
        shift=recipe.shift,
        momentum=MOMENTUM,
        channels=CHANNELS,
        opset=OPSET,
        torch_version=torch.__version__.partition("+")[0],
        calib=accuracy(model, calib),
        test_full=accuracy(model, test),
        test_count=len(test.y),
        test_sample=accuracy(model, test.take(shown)),
        sample_count=recipe.sample,
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    for name, content in {**files, "README.md": readme_text(figures).encode()}.items():
        with replacing(out / name) as stream:
            stream.write(content)


def positive(text: str) -> int:
    """A whole number above zero, for argparse."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA_FOLDER, help="folder of IDX .gz files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "fashion")
    parser.add_argument("--epochs", type=positive, default=Recipe.epochs)
    parser.add_argument("--dry-run", action="store_true", help="train and report, write nothing")
    options = parser.parse_args(argv)
    try:
        recipe = Recipe(epochs=options.epochs)
        build(options.data, None if options.dry_run else options.out, recipe)
    except (PimcError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, PimcError) else UsageError.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
