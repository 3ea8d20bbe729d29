"""The floor: what no recovery can pass, because every read meets it anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir
import torch

from pimc.chip.element import Place
from pimc.chip.elements import acting_on, without
from pimc.image.image import Image
from pimc.passes.recover.bench.bench import Bench
from pimc.passes.recover.recovery import Floor, LayerCost
from pimc.passes.recover.twin.goal import error_of_mean
from pimc.passes.recover.twin.twin import Twin
from pimc.passes.recover.watch.layers import Shelf, outputs_beside
from pimc.passes.recover.watch.network import network_outputs
from pimc.plan.records import layer_of, repeated_layers
from pimc.runtime.die.die import Die
from pimc.runtime.door.abilities import saturation_of
from pimc.runtime.door.device import Saturation
from pimc.runtime.feeds import Feed, tensors
from pimc.runtime.graph.executor import ArrayCall
from pimc.runtime.ops.parts import by_samples
from pimc.runtime.sequences import samples_first
from pimc.runtime.session import BATCH_SIZE, Session
from pimc.runtime.teacher import teacher_array

__all__ = ["floor_of", "outputs_noise", "with_perfect_cells"]

#: Least variance of an output: nothing is without rounding.
_LEAST = 1e-12
#: Samples that layers' costs are worked out for at once.
_AT_ONCE = 64
#: Samples that the noise of the network's outputs is measured on.
_NOISE_IMAGES = 64


def with_perfect_cells(image: Image) -> Image:
    """The image on a chip whose cells hold what they are asked to; reads stay as they are."""
    # What writing can, at best, make up for.
    of_cells = acting_on(image.chip, Place.CELL, Place.TIME)
    return image.with_chip(without(image.chip, of_cells))


def _reading(bench: Bench, image: Image) -> Session:
    """Perfect cells, read as the chip reads; simulated, so nothing is asked of the chip."""
    seed = bench.options.seed
    return Session(with_perfect_cells(image), die=Die.simulated(seed), seed=seed)


def outputs_noise(bench: Bench, image: Image, twin: Twin) -> list[float]:
    """Variance of each output of perfect cells, read as the chip reads, about a twin of them."""
    some = bench.train.subset(np.arange(min(_NOISE_IMAGES, len(bench.train))))
    session, what = _reading(bench, image), "estimating the noise of outputs"
    found = network_outputs(session, some, bench.progress, what)
    expected = network_outputs(session, some, bench.progress, what, twin)
    return [
        max(float((ours - theirs).square().mean()), _LEAST)
        for ours, theirs in zip(found, expected, strict=True)
    ]


def floor_of(bench: Bench, image: Image) -> Floor:
    """The floor of an image, by simulation: nothing is asked of the chip.

    Perfect cells under the chip's read noise and converters, with the digital side as compiled.
    A recovery that also tunes the digital side can come out slightly below this loss.
    """
    session = _reading(bench, image)
    found = network_outputs(session, bench.held_out, bench.progress, "estimating the floor")
    bench.memory.tidy()  # banks are made of what is many times as large
    return Floor(
        float(bench.goal.loss(found, bench.wanted)),
        bench.goal.agreement(found, bench.wanted),
        _costs(bench, image, session),
        len(bench.held_out),
        bench.compared.cost.used,
        error_of_mean(bench.goal.each(found, bench.wanted)),
    )


def _costs(bench: Bench, image: Image, session: Session) -> tuple[LayerCost, ...]:
    """What each layer alone costs: it is read as the chip reads, all others compute in float."""
    count = bench.compared.cost.used
    if not count:
        return ()
    teacher, noiseless = teacher_array(image), Session(image)
    errors: dict[str, float] = defaultdict(float)
    lasting: dict[str, float] = defaultdict(float)

    def read(node: ir.Node, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        name = layer_of(node)
        found = by_samples(session.layers[name], x, BATCH_SIZE)
        errors[name] += float((found - y).square_().mean()) * len(x)
        settled = by_samples(noiseless.layers[name], x, BATCH_SIZE).sub_(y).square_()
        lasting[name] += float(settled.mean()) * len(x)
        return found

    names = [arg.name for arg in session.get_outputs()]
    parts, runs, order = [], [], list[str]()
    for start in range(0, count, _AT_ONCE):
        feed = tensors(bench.held_out.feed(start, min(start + _AT_ONCE, count)))
        values, shelf = outputs_beside(session, teacher, feed, read, names)
        parts.append(values)
        runs.append(_each_alone(session, teacher, feed, shelf, names))
        order = list(dict.fromkeys(name for name, _ in shelf.places))
    bench.memory.tidy()
    wanted = _together(bench, parts, names)
    met = saturation_of(session.device)
    costs: dict[str, LayerCost] = {}
    for name in bench.progress(order, "weighing the floor by layer"):
        found = _together(bench, [next(run) for run in runs], names)
        same = bench.goal.agreement(found, wanted)
        costs[name] = LayerCost(
            name,
            float(bench.goal.loss(found, wanted)),
            None if same is None else 1 - same,
            met.get(name, Saturation()).share,
            max(0.0, 1 - lasting[name] / max(errors[name], 1e-30)),
        )
    known = (costs[layer.name] for layer in image.layers if layer.name in costs)
    return tuple(sorted(known, key=lambda cost: -cost.loss))


def _together(
    bench: Bench, parts: Sequence[dict[str, torch.Tensor]], names: Sequence[str]
) -> list[torch.Tensor]:
    """The network's outputs of samples one part after the other, samples first."""
    return [
        torch.cat([samples_first(part[name], bench.held_out, name) for part in parts])
        for name in names
    ]


def _each_alone(
    session: Session, teacher: ArrayCall, feed: Feed, shelf: Shelf, want: Sequence[str]
) -> Iterator[dict[str, torch.Tensor]]:
    """The network's outputs where one layer after the other gives what lies on the shelf.

    What comes before a layer is not computed again.
    """
    repeated = repeated_layers(session.image.graph())
    made = {layer.name: layer.output for layer in session.image.layers}
    at = feed
    for name in dict.fromkeys(name for name, _ in shelf.places):
        if name in repeated:
            uses = [call for call in shelf.places if call[0] == name]
            replayed = _replaying(name, (one for use in uses for one in shelf.take(use)), teacher)
            yield session.evaluate(feed, want=want, array=replayed)
            continue
        output = made[name]
        needed = session.executor.known_at(output, at, want)
        at = session.evaluate(at, want=needed, array=teacher)
        (read,) = shelf.take((name, 0))
        given = {**at, output: read}
        yield session.evaluate(given, want=want, array=teacher)


def _replaying(name: str, uses: Iterator[torch.Tensor], others: ArrayCall) -> ArrayCall:
    """Layer ``name`` gives what was read, use by use."""
    return lambda node, x: next(uses) if layer_of(node) == name else others(node, x)
