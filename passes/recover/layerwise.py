"""Chip in the loop, layer by layer: later layers learn what the written ones really give.

The layers are gone through in the order in which they run. Those already written compute on the
chip; all that follow are trained, under write errors, to make up for it; then the next one is
written. Only outputs of layers are used, no cell is identified (Wan et al. 2022, DOI
10.1038/s41586-022-04992-8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
import torch

from pimc.passes.recover.bench import Bench
from pimc.passes.recover.distill import Student, batches, distance
from pimc.passes.recover.noisy import NoisyLayer, optimizer_of, written
from pimc.plan.records import layer_of
from pimc.runtime.session import BATCH_SIZE

__all__ = ["LayerwiseOptions", "train_and_write"]


@dataclass(frozen=True)
class LayerwiseOptions:
    """How the layers that follow are trained.

    Attributes:
        images: run for every layer that was written, drawn anew each time.
        batch_size: images a step.
        learning_rate: of weights, in units of their layer's standard deviation.
        features: weight of the layers' outputs beside the network's.
    """

    images: int = 1024
    batch_size: int = 64
    learning_rate: float = 2e-3
    features: float = 1.0


def train_and_write(bench: Bench, student: Student, options: LayerwiseOptions) -> int:
    """Train what follows each layer, then write the next; the first stays as it is.

    Returns:
        How many cells were written.

    Raises:
        ModelError: gradients cannot reach a layer.
        DeviceError: the chip failed.
    """
    student.check_gradients()
    _, features = student.teach(torch.from_numpy(bench.train.batch(0, 1)))
    noisy = {layer.name: NoisyLayer.of(bench.image, layer) for layer in bench.image.layers}
    order, done = list(dict.fromkeys(name for name, _ in features)), 0
    for number in bench.progress(range(1, len(order)), "layer by layer", len(order) - 1):
        _train(bench, student, {name: noisy[name] for name in order[number:]}, options)
        done += _write(bench, noisy[order[number]], number)
    return done


def _train(
    bench: Bench, student: Student, rest: Mapping[str, NoisyLayer], options: LayerwiseOptions
) -> None:
    chip = bench.session().layers
    optimizer = optimizer_of(rest.values(), options.learning_rate)

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        name = layer_of(node)
        if name in rest:
            return rest[name].twin(x)
        with torch.no_grad():
            return torch.cat([chip[name](part) for part in x.split(BATCH_SIZE)])

    count = min(options.images, len(bench.train))
    some = torch.randperm(len(bench.train), generator=bench.generator)[:count].numpy()
    for x in batches(bench.train.subset(some), options.batch_size, bench.generator):
        for layer in rest.values():
            layer.draw(bench.generator)
        wanted, wanted_features = student.teach(x)
        kept = {call: value for call, value in wanted_features.items() if call[0] in rest}
        found = student.run(x, array)
        loss = distance(bench.goal, found, (wanted, kept), options.features)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def _write(bench: Bench, layer: NoisyLayer, number: int) -> int:
    trained = written(bench.image, [layer])
    cells = np.flatnonzero(trained.levels != bench.image.levels)
    bench.chosen = cells, trained.levels.reshape(-1)[cells], number
    done = bench.write()
    index = layer.twin.layer.index
    same = replace(bench.image.layers[index], bias=trained.layers[index].bias)
    bench.image = bench.image.with_layers([same])
    return done
