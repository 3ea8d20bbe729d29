"""Small networks and data of every kind, which take the place of large ones."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from scipy.io import wavfile
from torch import nn

from pimc.data.dataset import Dataset
from pimc.runtime.session import NodeArg

WORDS = ("a", "the", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree", "big", "small")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
USUAL = tuple(
    NodeArg(name, ["N", "S"], "tensor(int64)")
    for name in ("input_ids", "attention_mask", "token_type_ids")
)
WIDTH = 16


def tokenizer(path: Path, **padding: Any) -> Path:
    """A file of the library tokenizers: words by spaces, [CLS] … [SEP] as BERT has them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment, unused-ignore]
    made.post_processor = processors.TemplateProcessing(  # type: ignore[assignment, unused-ignore]
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    if padding:
        made.enable_padding(**padding)
    made.save(str(path))
    return path


def sentences(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(3, 9))) for _ in range(count)]


def lines(path: Path, entries: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    return path


class Encoder(nn.Module):
    """One layer of BERT for the three inputs that MiniLM has; a vector a token."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.kinds = nn.Embedding(16, WIDTH), nn.Embedding(2, WIDTH)
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        x = self.words(input_ids) + self.kinds(token_type_ids)
        bias = (1 - attention_mask[:, None, :].float()) * -1e4
        scores = self.q(x) @ self.k(x).transpose(1, 2) * WIDTH**-0.5 + bias
        return self.norm(x + self.out(torch.softmax(scores, -1) @ self.v(x)))


def encoder() -> onnx.ModelProto:
    torch.manual_seed(0)
    names = [arg.name for arg in USUAL]
    one = torch.ones(2, 5, dtype=torch.int64)
    stream: Any = io.BytesIO()  # the exporter takes streams, which its types do not say
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        torch.onnx.export(
            Encoder().eval(), (one, one, 0 * one), cast("Any", stream), dynamo=False,
            opset_version=17,
            input_names=names, output_names=["last_hidden_state"],
            dynamic_axes={name: {0: "N", 1: "S"} for name in names},
        )  # fmt: skip
    return onnx.load_from_string(stream.getvalue())


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    x: tuple[str, int, list[Any]],
    outputs: Mapping[str, Any],
    weights: Mapping[str, Any],
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(np.asarray(value), key) for key, value in weights.items()]
    shapes = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()]
    graph = helper.make_graph(nodes, name, [helper.make_tensor_value_info(*x)], shapes, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def language_model() -> onnx.ModelProto:
    """Logits of the next token from the last one."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Gather", ["E", "input_ids"], ["e"]),
        helper.make_node("MatMul", ["e", "w"], ["logits"], name="head"),
    ]
    weights = {
        "E": rng.normal(size=(16, WIDTH)).astype(np.float32),
        "w": rng.normal(size=(WIDTH, 16)).astype(np.float32),
    }
    outputs = {"logits": ["N", "S", 16]}
    x = ("input_ids", TensorProto.INT64, ["N", "S"])
    return _model("language", nodes, x, outputs, weights)


def detector() -> onnx.ModelProto:
    """A box around each quarter of (N, 3, 16, 16), and two scores: is it red, is it blue."""
    rng = np.random.default_rng(0)
    colours = np.zeros((2, 3, 8, 8), np.float32)
    colours[0, 0] = colours[1, 2] = 1 / 64
    colours += rng.normal(0, 1e-3, colours.shape).astype(np.float32)
    places = [[x, y, x + 8, y + 8] for y in (0, 8) for x in (0, 8)]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="cells", strides=[8, 8]),
        helper.make_node("Reshape", ["c", "flat"], ["f"]),
        helper.make_node("Transpose", ["f"], ["scores"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["scores"], ["m"], axes=[2], keepdims=1),
        helper.make_node("Mul", ["m", "zero"], ["z"]),
        helper.make_node("Add", ["z", "places"], ["boxes"]),
    ]
    weights = {
        "w": colours,
        "flat": np.array([0, 2, 4]),
        "zero": np.float32(0),
        "places": np.array([places], np.float32),
    }
    outputs = {"boxes": ["N", 4, 4], "scores": ["N", 4, 2]}
    x = ("x", TensorProto.FLOAT, ["N", 3, 16, 16])
    return _model("detector", nodes, x, outputs, weights)


def pictures(folder: Path, count: int, seed: int = 0) -> Path:
    """Images of 32×32 with red and blue quarters, and their boxes in COCO's format."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for number in range(count):
        array = np.zeros((32, 32, 3), np.uint8)
        for quarter, colour in enumerate(rng.integers(0, 3, 4)):
            y, x = 16 * (quarter // 2), 16 * (quarter % 2)
            if colour < 2:
                array[y : y + 16, x : x + 16, (0, 2)[colour]] = 255
                box = {"bbox": [x, y, 16, 16], "category_id": int((7, 9)[colour]), "iscrowd": 0}
                boxes.append({"id": len(boxes) + 1, "image_id": 100 + number, **box})
        name = f"{number:03d}.png"
        Image.fromarray(array).save(folder / name)
        images.append({"id": 100 + number, "file_name": name, "width": 32, "height": 32})
    told = {
        "images": images,
        "annotations": boxes,
        "categories": [{"id": 9, "name": "blue"}, {"id": 7, "name": "red"}],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(told))
    return path


def tone(path: Path, hertz: float, seconds: float = 0.25, rate: int = 8000, seed: int = 0) -> Path:
    """A sound of one pitch and some noise, 16 bits."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    values = 0.5 * np.sin(2 * np.pi * hertz * time) + 0.05 * rng.standard_normal(len(time))
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, (values * 32767).clip(-32768, 32767).astype(np.int16))
    return path


def listener() -> onnx.ModelProto:
    """High or low, from (N, 10 bands, frames)."""
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.02, (2, 10)).astype(np.float32)
    weights[0, :5] += 0.5
    weights[1, 5:] += 0.5
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[2], keepdims=0),
        helper.make_node("Gemm", ["m", "w"], ["y"], transB=1, name="fc"),
    ]
    x = ("x", TensorProto.FLOAT, ["N", 10, "T"])
    return _model("listener", nodes, x, {"y": ["N", 2]}, {"w": weights})


def labels_of(data: Dataset) -> list[int]:
    """The class numbers of data that have them."""
    assert data.y is not None
    return [int(label) for label in data.y]
