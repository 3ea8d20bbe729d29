"""Train a plan's codes, scales, biases and ranges on calibration data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from pimc.chip.codebook import codebooks
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.data.inputs import free_inputs
from pimc.passes.options import Options
from pimc.passes.quantize.adc_choice import chips_of
from pimc.passes.recover.learn.blocks import Segment, segments
from pimc.passes.recover.learn.layer import Kept, LearnedLayer
from pimc.passes.recover.learn.network import Networks, Pair, float_layers
from pimc.passes.recover.learn.rebuild import FITTED, LearnOptions, parameters_of, rebuild
from pimc.passes.recover.train.trainer import Batch, Best, Trainer
from pimc.passes.recover.twin.goal import Goal
from pimc.passes.recover.twin.student import Student, distance
from pimc.passes.recover.twin.twin import Twin
from pimc.plan.records import Plan
from pimc.progress import Progress, silent
from pimc.runtime.feeds import tensors
from pimc.runtime.graph.executor import Executor

__all__ = ["Learned", "learned"]

#: Seed of everything drawn; fixed, so that equal inputs give equal bytes.
_SEED = 20221117
#: Part of the samples on which what was trained is judged.
_HOLDOUT = 0.125
#: Names of layers that a note lists.
_LISTED = 5


@dataclass(frozen=True)
class Learned:
    """Trains what the quantizer chose: first block by block, then the whole network.

    Attributes:
        data: inputs; labels are not used.
        noise: write errors drawn while training, as a part of the chip's own.
        adc_range: by globs of layers, how their ADC's range is chosen where not as the chip says.
    """

    data: Dataset = field(repr=False)
    noise: float = 0.0
    options: LearnOptions = field(default_factory=LearnOptions)
    progress: Progress = field(default=silent, repr=False)
    adc_range: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, plan: Plan, chip: Chip) -> tuple[Plan, Iterable[str]]:
        """The plan with what served held-out samples best, and what there is to say of it.

        Raises:
            UsageError: the network takes a fixed number of samples.
        """
        inputs = plan.graph.graph.inputs
        free_inputs(inputs)
        data, executor = self.data.on(inputs), Executor(plan.graph)
        parts, unreached = _with_gradients(executor, plan)
        layers = _layers(plan, chip, chips_of(plan, self.adc_range, chip))
        names = [name for part in parts for block in part.blocks for name in block.layers]
        left = [layer.name for layer in plan.layers if layer.name not in names]
        networks = Networks(executor, layers, float_layers(plan.layers))
        axes = {} if data.states is None else data.states.axes
        student = Student(executor, Twin({}), networks.teacher, executor.output_names, axes)
        training = _Training.of(self, data, networks, student, names)
        best = training.run(parts)
        for name, kept in best.value.items():
            layers[name].back(kept)
        entries = tuple(
            layers[layer.name].now() if layer.name in names else entry
            for layer, entry in zip(plan.layers, plan.quantized, strict=True)
        )
        notes = [f"loss on held-out calibration data {training.start:.4g} → {best.loss:.4g}"]
        if left:
            why = "repeated" if not unreached else "repeated, or out of reach of gradients"
            notes.append(f"{len(left)} layers left alone ({why}): {_listed(left)}")
        return replace(plan, quantized=entries), notes


def learned(data: Dataset, options: Options, progress: Progress = silent) -> Learned:
    """What trains a plan on ``data``; write errors are drawn where they are to count whole."""
    counted = options.counted(calibrated=True) or 0.0
    return Learned(data, counted**0.5, progress=progress, adc_range=options.adc_range)


@dataclass(eq=False)
class _Training:
    """Networks while they are trained.

    Attributes:
        train, held_out: batches at the network's inputs.
        start: loss of the network before.
    """

    learned: Learned
    data: Dataset
    networks: Networks
    student: Student
    goal: Goal
    names: Sequence[str]
    train: Sequence[Pair]
    held_out: Sequence[Pair]
    generator: torch.Generator
    start: float = 0.0

    @staticmethod
    def of(
        learned: Learned, data: Dataset, networks: Networks, student: Student, names: Sequence[str]
    ) -> _Training:
        """Choose samples and batches."""
        options = learned.options
        count = min(len(data), options.samples)
        chosen = np.unique(np.linspace(0, len(data) - 1, count).astype(int))
        held_out, train = data.subset(chosen).split(_HOLDOUT, np.random.default_rng(_SEED))
        feed = tensors(data.feed(0, 1))
        wanted, features = student.teach(feed)
        bytes_a_sample = sum(value.nbytes for value in features.values())
        size = int(np.clip(options.held // max(bytes_a_sample, 1), 1, options.batch_size))
        generator = torch.Generator().manual_seed(_SEED)
        shapes = [tuple(value.shape[1:]) for value in feed.values()]
        # What is shaped as an input is, as autoencoders give it, is no list of classes.
        values = [n for n, output in enumerate(wanted) if tuple(output.shape[1:]) in shapes]
        return _Training(
            replace(learned, options=replace(options, batch_size=size)),
            train,
            networks,
            student,
            Goal.of(None, wanted, states=values),
            names,
            _batches(train, size, generator),
            _batches(held_out, size, torch.Generator().manual_seed(_SEED)),
            generator,
        )

    def run(self, parts: Sequence[Segment]) -> Best[dict[str, Kept]]:
        """Train; the best on held-out samples, which may be what there was before."""
        options, noise = self.learned.options, self.learned.noise
        self.start = self._loss()
        best = Best.of(None, self.start, self._kept)
        if self.names:
            few = self.train[: self._fitting(parts)]
            rebuild(
                self.networks,
                parts,
                few,
                self.held_out,
                options,
                self.generator,
                noise,
                progress=self.learned.progress,
            )
            best = Best.of(best, self._loss(), self._kept)
        if self.names and not self._breaks():
            best = self._distilled(best)
        return best

    def _distilled(self, best: Best[dict[str, Kept]]) -> Best[dict[str, Kept]]:
        """Train scales and biases of all layers together."""
        learned, options = self.learned, self.learned.options
        layers = [self.networks.layers[name] for name in self.names]

        def loss_of(batch: Batch) -> torch.Tensor:
            for layer in layers:
                layer.draw(self.generator, learned.noise)
            found = self.student.run(batch.feed, self.networks.array)
            return distance(self.goal, found, self.student.teach(batch.feed), options.features)

        def judge(epoch: int) -> bool:
            nonlocal best
            self.networks.refit(self.train[:FITTED], self.names, self.student.outputs)
            best = Best.of(best, self._loss(), self._kept)
            return True

        # Codes of all layers at once flip more than they gain: the shipped ResNet-8 at 4 levels
        # went from a loss of 0.096 to 0.155 in three epochs.
        parameters = parameters_of(layers, options, options.epoch_rate, codes=False)
        Trainer(parameters, loss_of, self.data, options.batch_size, self.generator).epochs(
            options.epochs, judge, what="learning, all together", progress=learned.progress
        )
        return best

    def _loss(self) -> float:
        """On held-out samples, of the network's outputs; with write errors on the same dies."""
        dies = torch.Generator().manual_seed(_SEED)
        losses, sizes = [], []
        with torch.no_grad():
            for pair in self.held_out:
                for name in self.names:
                    self.networks.layers[name].draw(dies, self.learned.noise)
                found, _ = self.student.run(pair.feed, self.networks.array)
                wanted, _ = self.student.teach(pair.feed)
                losses.append(float(self.goal.loss(found, wanted)))
                sizes.append(len(next(iter(pair.feed.values()))))
        return float(np.average(losses, weights=sizes))

    def _kept(self) -> dict[str, Kept]:
        return {name: self.networks.layers[name].kept() for name in self.names}

    def _breaks(self) -> bool:
        """Whether gradients of the outputs do not reach all layers."""
        outputs = [self.networks.layers[name].layer.output for name in self.names]
        return bool(self.networks.executor.gradient_breaks(outputs, self.student.outputs))

    def _fitting(self, parts: Sequence[Segment]) -> int:
        """Batches of which the values between blocks fit into memory."""
        ends = [part.end for part in parts if part.end]
        if not ends:
            return len(self.train)
        pair = self.train[0]
        values = self.networks.at(pair, (), [name for end in ends for name in end]).theirs
        most = max(sum(values[name].nbytes for name in end) for end in ends)
        fed = sum(value.nbytes for value in pair.feed.values())
        # Of both networks, and what a block gives beside what it gets.
        return max(1, self.learned.options.kept // (4 * most + fed))


def _layers(plan: Plan, chip: Chip, chips: Mapping[str, Chip]) -> dict[str, LearnedLayer]:
    """The layers that data reached, by name."""
    books = codebooks(chip, (layer.mapping for layer in plan.layers))
    return {
        layer.name: LearnedLayer(layer, entry, chips[layer.name], book)
        for layer, entry, book in zip(plan.layers, plan.quantized, books, strict=True)
        if entry.input_scale is not None
    }


def _with_gradients(executor: Executor, plan: Plan) -> tuple[list[Segment], bool]:
    """The parts of a network, without blocks that cannot be trained, and whether there were any."""
    reached = {
        layer.name: layer.output
        for layer, entry in zip(plan.layers, plan.quantized, strict=True)
        if entry.input_scale is not None
    }
    found, without = [], False
    for part in segments(plan.graph):
        blocks = [
            block
            for block in part.blocks
            if all(name in reached for name in block.layers)
            and not executor.gradient_breaks([reached[n] for n in block.layers], block.outputs)
        ]
        without = without or len(blocks) < len(part.blocks)
        found.append(replace(part, blocks=tuple(blocks)))
    return found, without


def _batches(data: Dataset, size: int, generator: torch.Generator) -> list[Pair]:
    order = torch.randperm(len(data), generator=generator).numpy()
    parts = np.array_split(order, -(-len(order) // size))
    return [Pair(tensors(data.subset(part).all_inputs()), {}, {}) for part in parts]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
