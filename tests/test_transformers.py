"""Transformers: an encoder of token numbers, and a decoder with a cache of keys and values."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.train.distill import DistillOptions
from pimc.runtime.capture import CaptureOptions
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.graph.executor import Executor
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array
from pimc.studies.golden.verify import verify

Array = np.ndarray[Any, Any]
WORDS, WIDTH, HEADS, LENGTH = 50, 16, 2, 8


class Block(nn.Module):
    """Attention and two layers, each added to what goes in; keys and values may come before."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Any, past: Any = None, bias: Any = 0.0) -> Any:
        q, k, v = (
            part.reshape(*x.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)
            for part in self.qkv(self.first(x)).chunk(3, dim=-1)
        )
        if past is not None:
            k, v = (torch.cat([old, new], dim=2) for old, new in zip(past, (k, v), strict=True))
        scores = q @ k.transpose(2, 3) * (WIDTH // HEADS) ** -0.5 + bias
        mixed = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(x.shape)
        x = x + self.out(mixed)
        return x + self.down(torch.nn.functional.gelu(self.up(self.second(x)))), k, v


class Encoder(nn.Module):
    """The mean of all words that are not 0, a vector a sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(2))

    def forward(self, ids: Any) -> Any:
        there = (ids != 0).float()
        x = self.words(ids) + self.places.weight
        for block in self.blocks:
            x, _, _ = block(x, bias=(1 - there)[:, None, None, :] * -1e4)
        return (x * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp_min(1)


class Decoder(nn.Module):
    """The next word from one word and the keys and values of those before; the head is tied."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.block = nn.Embedding(WORDS, WIDTH), Block()

    def forward(self, ids: Any, keys: Any, values: Any) -> Any:
        x, keys, values = self.block(self.words(ids), past=(keys, values))
        return x @ self.words.weight.T, keys, values


def exported(model: nn.Module, inputs: tuple[Any, ...], **names: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        export: Any = torch.onnx.export  # a stream is fine for it, whatever its types say
        export(
            model.eval(),
            inputs,
            buffer,
            dynamo=False,
            opset_version=17,
            **names,
        )
    return buffer.getvalue()


@pytest.fixture(scope="module")
def encoder() -> bytes:
    torch.manual_seed(0)
    ids = torch.ones(2, LENGTH, dtype=torch.int64)
    axes = {"ids": {0: "N"}}
    return exported(Encoder(), (ids,), input_names=["ids"], dynamic_axes=axes)


def sentences(count: int) -> Array:
    rng = np.random.default_rng(0)
    ids = rng.integers(1, WORDS, (count, LENGTH))
    ids[np.arange(LENGTH) >= rng.integers(2, LENGTH + 1, (count, 1))] = 0
    return ids


def test_an_encoder_compiles_verifies_and_recovers(encoder) -> None:
    ids = sentences(256)
    chip = Chip.default().with_array(64, 64).with_sigma(0.08)
    image = compile_model(encoder, chip, calib=ids[:64])
    assert len(image.layers) == 8
    assert verify(image, {"ids": ids[:16]}).ok
    (wanted,) = ort.InferenceSession(encoder).run(None, {"ids": ids})
    device = SimDevice(Die.simulated(3), image.chip, image.arrays, read_seed=3)
    program(image, device)

    def away(held: Image) -> float:
        (found,) = Session(held, die=device).run(None, {"ids": ids[128:]})
        return float(((found - wanted[128:]) ** 2).mean() / wanted.var())

    before = away(image)
    options = RecoverOptions(
        budget=0.2,
        rounds=1,
        task="regression",
        capture=CaptureOptions(vectors=128, repeats=2, images=32),
        distill=DistillOptions(epochs=2, batch_size=16),
    )
    recovery = recover(image, device, Dataset.of(ids[:128]), options)
    assert away(recovery.image) < 0.5 * before


def test_a_decoder_runs_word_by_word() -> None:
    torch.manual_seed(1)
    past = torch.zeros(2, HEADS, 3, WIDTH // HEADS)
    names = ["ids", "keys", "values"]
    axes = {"ids": {0: "N"}} | {name: {0: "N", 2: "T"} for name in names[1:]}
    model = exported(
        Decoder(),
        (torch.ones(2, 1, dtype=torch.int64), past, past),
        input_names=names,
        output_names=["y", "next_keys", "next_values"],
        dynamic_axes=axes,
    )
    image = compile_model(model, Chip.default().with_array(64, 64))
    golden = ort.InferenceSession(model)
    session = Session(image)
    executor = Executor(image.graph(), array=teacher_array(image))
    empty = np.zeros((3, HEADS, 0, WIDTH // HEADS), np.float32)
    ours, theirs = [empty, empty], [empty, empty]
    for ids in np.random.default_rng(0).integers(1, WORDS, (4, 3, 1)):
        wanted, *theirs_next = golden.run(None, dict(zip(names, [ids, *theirs], strict=True)))
        feed = {
            name: torch.from_numpy(value) for name, value in zip(names, [ids, *theirs], strict=True)
        }
        in_float = list(executor.run(feed).values())
        np.testing.assert_allclose(in_float[0].numpy(), wanted, rtol=1e-4, atol=1e-4)
        found, *ours = session.run(None, dict(zip(names, [ids, *ours], strict=True)))
        assert ((found - wanted) ** 2).mean() < 0.1 * wanted.var()
        theirs = theirs_next
    assert ours[0].shape == (3, HEADS, 4, WIDTH // HEADS)
