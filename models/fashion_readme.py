"""The README beside the shipped Fashion-MNIST files, filled with what was just measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fashion_data import CLASSES, SIDE

TEMPLATE = """\
# Fashion-MNIST: the model and data shipped with pimc

Written by `python models/build_fashion.py`; do not edit by hand.

| file | what |
|---|---|
| `resnet8.onnx` | ResNet with one block a stage ({widths} channels; 1x1 convolution \
shortcuts, global average pool), {parameters:,} parameters, opset {opset}, \
batch norms not folded; input `input` float32 (N, 1, {side}, {side}), \
output `logits` float32 (N, {classes}) |
| `calib.npz` | {sample_count:,} training images, {each:,} a class, on which the network \
was not trained: `x` uint8 (N, 1, {side}, {side}), `y` uint8 (N,) |
| `test.npz` | {sample_count:,} test images, {each:,} a class, drawn with a seed, same form. \
Never train, calibrate or choose anything on it |
| `data.toml` | how pixels become the network's input |
| `LICENSE.fashion-mnist` | the licence of the images |

Classes 0 to 9: T-shirt/top, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, \
ankle boot.

## Measured accuracy

With ONNX Runtime on the CPU:

| images | count | accuracy |
|---|---:|---:|
| full test set | {test_count:,} | {test_full:.2%} |
| `test.npz` | {sample_count:,} | {test_sample:.2%} |
| `calib.npz` (not trained on) | {sample_count:,} | {calib:.2%} |

## Source and licence

Fashion-MNIST: H. Xiao, K. Rasul, R. Vollgraf, arXiv 1708.07747, \
https://github.com/zalandoresearch/fashion-mnist, copyright 2017 Zalando SE, MIT licence \
(`LICENSE.fashion-mnist`), taken from the Debian package `dataset-fashion-mnist`. \
The network was trained for this project and has the project's licence.

## Training

`{recipe}` on {trained_on:,} training images: cross-entropy, SGD with Nesterov momentum \
{momentum}, one-cycle learning rate, weight decay on convolution and linear weights only, \
images shifted by up to {pixels} and mirrored. The last state is kept; \
no state was chosen by accuracy. It took {minutes:.0f} minutes with torch {torch_version}. \
Everything is seeded, and small runs repeat byte for byte on one machine; another \
processor or torch version gives other weights of about the same accuracy, \
another zlib the same arrays packed into other bytes.

## SHA-256

| file | SHA-256 |
|---|---|
{hashes}
"""


@dataclass(frozen=True)
class Figures:
    """What a build measured. Accuracies are shares from 0 to 1."""

    parameters: int
    trained_on: int
    seconds: float
    recipe: str
    shift: int
    momentum: float
    channels: tuple[int, ...]
    opset: int
    torch_version: str
    calib: float
    test_full: float
    test_count: int
    test_sample: float
    sample_count: int
    sha256: Mapping[str, str]


def readme_text(figures: Figures) -> str:
    """The whole README as Markdown."""
    hashes = "\n".join(f"| `{name}` | `{digest}` |" for name, digest in figures.sha256.items())
    shift = {1: "one pixel", 2: "two pixels"}
    values = {
        **vars(figures),
        "minutes": figures.seconds / 60,
        "hashes": hashes,
        "widths": ", ".join(map(str, figures.channels)),
        "pixels": shift.get(figures.shift, f"{figures.shift} pixels"),
        "each": figures.sample_count // CLASSES,
        "classes": CLASSES,
        "side": SIDE,
    }
    return TEMPLATE.format(**values)
