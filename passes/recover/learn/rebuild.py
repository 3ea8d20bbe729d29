"""Block after block, each on what it gets from the trained network, toward the float network's.

M. Nagel et al. 2020, arXiv 2004.10568; Y. Li et al. 2021, arXiv 2102.05426.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pimc.data.dataset import Dataset
from pimc.passes.recover.learn.blocks import Block, Segment
from pimc.passes.recover.learn.layer import Kept, LearnedLayer
from pimc.passes.recover.learn.network import Networks, Pair
from pimc.passes.recover.train.trainer import Batch, Best, Trainer
from pimc.progress import Progress, silent

__all__ = ["FITTED", "LearnOptions", "parameters_of", "rebuild"]

#: Batches whose input vectors ranges of ADCs are fitted to.
FITTED = 4
#: How often a block is judged while all of it is trained, where flips of codes come and go
#: (M. Nagel et al. 2022, arXiv 2203.11086), and while the best codes stay.
_TURNS = (3, 2)


@dataclass(frozen=True)
class LearnOptions:
    """How layers are trained.

    Attributes:
        samples: calibration samples looked at, at most.
        batch_size: samples a batch, at most.
        steps: batches that a block is trained on.
        rate: learning rate of weights, in standard deviations of their layer's.
        scale_rate: of the logarithms of scales.
        bias_rate: of biases, in root mean squares of their layer's outputs.
        epochs: over the samples, when the whole network is trained.
        epoch_rate: learning rates then, as a part of those of blocks.
        features: weight of the layers' outputs beside the network's.
        kept: bytes of values that are kept between blocks, at most, or one batch.
        held: bytes that the layers' outputs of a batch may take, or of one sample.
    """

    samples: int = 1024
    batch_size: int = 32
    steps: int = 150
    rate: float = 1.5e-2
    scale_rate: float = 2e-3
    bias_rate: float = 2e-3
    epochs: int = 2
    epoch_rate: float = 0.1
    features: float = 1.0
    kept: int = 1 << 29
    held: int = 1 << 26


def parameters_of(
    layers: Sequence[LearnedLayer],
    options: LearnOptions,
    part: float = 1.0,
    *,
    codes: bool = True,
) -> list[dict[str, Any]]:
    """Trained values with their learning rates, as torch's optimizers take them.

    Args:
        part: of the learning rates.
        codes: False leaves codes as they are.
    """
    groups: list[dict[str, Any]] = []
    for layer in layers:
        if codes:
            groups.append({"params": [layer.asked_us], "lr": part * options.rate * layer.spread_us})
        groups += [
            {"params": layer.scales(), "lr": part * options.scale_rate},
            {"params": [layer.bias], "lr": part * options.bias_rate * layer.output_size},
        ]
    return groups


@dataclass(frozen=True, eq=False)
class _Job:
    """What stays the same from block to block.

    Attributes:
        noise: write errors drawn, as a part of the chip's own.
        generator: of write errors and of the order of batches.
    """

    networks: Networks
    options: LearnOptions
    generator: torch.Generator
    noise: float
    progress: Progress


def rebuild(
    networks: Networks,
    segments: Sequence[Segment],
    train: Sequence[Pair],
    held_out: Sequence[Pair],
    options: LearnOptions,
    generator: torch.Generator,
    noise: float = 0.0,
    *,
    progress: Progress = silent,
) -> list[tuple[float, float]]:
    """Train all blocks in place; one that does no better than before stays as it was.

    Args:
        train: batches at the network's inputs.
        held_out: others, by which blocks are judged.
        generator: of write errors and of the order of batches.
        noise: write errors drawn, as a part of the chip's own.

    Returns:
        Each block's loss on ``held_out`` before and after.
    """
    job, losses = _Job(networks, options, generator, noise, progress), []
    for number, segment in enumerate(segments, start=1):
        what = f"learning, part {number} of {len(segments)}"
        for block in segment.blocks:
            inside, judged = (
                [networks.within(pair, block) for pair in pairs] for pairs in (train, held_out)
            )
            losses.append(_train(job, block, inside, judged, what))
        if segment.end:
            train = [networks.at(pair, segment.end, segment.end) for pair in train]
            held_out = [networks.at(pair, segment.end, segment.end) for pair in held_out]
    return losses


def _train(
    job: _Job, block: Block, train: Sequence[Pair], held_out: Sequence[Pair], what: str
) -> tuple[float, float]:
    """Train one block; its loss on ``held_out`` before and after."""
    networks, options = job.networks, job.options
    layers = [networks.layers[name] for name in block.layers]

    def loss_on(pair: Pair, dies: torch.Generator) -> torch.Tensor:
        for layer in layers:
            layer.draw(dies, job.noise)
        found = networks.ours(pair.feed, pair.ours, block.outputs)
        each = [_distance(found[name], pair.theirs[name]) for name in block.outputs]
        return torch.stack(each).mean()

    def judged() -> float:
        dies = torch.Generator().manual_seed(0)
        with torch.no_grad():
            return float(np.mean([float(loss_on(pair, dies)) for pair in held_out]))

    def follow(_: Batch) -> torch.Tensor:
        chosen = torch.randint(len(train), (), generator=job.generator)
        return loss_on(train[int(chosen)], job.generator)

    def kept() -> list[Kept]:
        return [layer.kept() for layer in layers]

    best = Best.of(None, judged(), kept)
    before = best.loss

    def judge(_: int) -> bool:
        nonlocal best
        networks.refit(train[:FITTED], block.layers, block.outputs)
        best = Best.of(best, judged(), kept)
        return True

    def train_for(turns: int, parameters: Sequence[dict[str, Any]]) -> None:
        each = -(-options.steps // sum(_TURNS))
        # ``follow`` draws the batches: those that are kept, and not single samples.
        numbers = Dataset.of(np.zeros((each, 1), np.float32))
        Trainer(parameters, follow, numbers, 1, job.generator).epochs(
            turns, judge, what=what, progress=job.progress
        )
        for layer, values in zip(layers, best.value, strict=True):
            layer.back(values)

    train_for(_TURNS[0], parameters_of(layers, options))
    train_for(_TURNS[1], parameters_of(layers, options, codes=False))
    for layer in layers:
        layer.draw(job.generator, 0.0)
    return before, best.loss


def _distance(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Squared error as a part of the variance of what is wanted."""
    return (found - wanted).square().mean() / wanted.var(correction=0).clamp_min(1e-12)
