"""What each mapping does to each layer: the network's loss with this layer alone on the array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
import torch

from pimc.api import calibration_on
from pimc.api import compile as compile_model
from pimc.chip.codebook import codebook
from pimc.chip.design import Chip
from pimc.chip.layer_mapping import parse_mapping, require_mapping, spelled
from pimc.data.dataset import Dataset
from pimc.errors import ChipError
from pimc.image.image import Image
from pimc.passes.options import Options
from pimc.passes.quantize.equalize import Equalize
from pimc.passes.quantize.quantize import Calibration, Quantize
from pimc.passes.recover.twin.goal import Goal
from pimc.plan.records import Plan, layer_of
from pimc.progress import Progress, silent
from pimc.runtime.die.die import Die
from pimc.runtime.feeds import samples_of, tensors
from pimc.runtime.sequences import state_outputs
from pimc.runtime.session import BATCH_SIZE, Session
from pimc.runtime.teacher import teacher_array
from pimc.studies.drawn import FRESH
from pimc.studies.spending.front import Offer
from pimc.tasks.task import Task

__all__ = ["KINDS", "SAMPLES", "State", "offers"]

#: Mappings that are tried where nobody says otherwise; those that a chip cannot hold are left out.
KINDS = ("offset", "differential", "sliced:2", "sliced:3")
#: Samples that damages are measured on.
SAMPLES = 64


@dataclass(frozen=True)
class State:
    """What the chip holds when it is judged.

    Attributes:
        dies: seeds of dies that are read as they were programmed; perfect cells if there are none.
    """

    dies: tuple[int, ...] = ()

    def sessions(self, image: Image, *, converters: bool = True) -> list[Session]:
        """A session a die."""
        if not self.dies:
            return [Session(image, die=Die.ideal(), converters=converters)]
        return [FRESH.session(image, seed, converters=converters) for seed in self.dies]


@dataclass
class _InFloat:
    """Calibration that quantizes every layer on the float network's inputs.

    So what one layer loses does not depend on what those before it are.
    """

    run: Calibration
    in_float: Callable[[str, torch.Tensor], torch.Tensor] | None = field(default=None)

    def __call__(
        self,
        graph: ir.Model,
        on_array: Callable[[str, torch.Tensor], torch.Tensor],
        *,
        most: int | None = None,
    ) -> None:
        in_float = self.in_float
        if in_float is None:  # the quantizer runs the float network first
            self.in_float = on_array
            self.run(graph, on_array, most=most)
            return

        def both(name: str, x: torch.Tensor) -> torch.Tensor:
            on_array(name, x)
            return in_float(name, x)

        self.run(graph, both, most=most)


def offers(
    plan: Plan,
    chip: Chip,
    data: Dataset,
    options: Options,
    *,
    kinds: Sequence[str] = KINDS,
    state: State | None = None,
    task: Task | None = None,
    progress: Progress = silent,
) -> list[list[Offer]]:
    """The mappings that each layer may have, and what they cost.

    Args:
        plan: after the partition; a layer with a mapping of its own keeps it.
        data: calibration samples, of which some are used.
        kinds: mappings to try, as users write them.
        task: says what outputs are held to; judged by their shape if None.
    """
    some = np.linspace(0, len(data) - 1, min(SAMPLES, len(data))).astype(np.int64)
    chosen = data.on(plan.graph.graph.inputs).subset(np.unique(some))
    state = state or State()
    found: list[list[Offer]] = [[] for _ in plan.layers]
    fixed = [layer.mapping is not None for layer in plan.layers]
    tried = _held(chip, kinds)
    if any(fixed):
        tried = [None, *tried]
    for kind in progress(tried, "weighing mappings", len(tried)):
        asked = None if kind is None else parse_mapping(kind, chip)
        layers = tuple(
            layer if own else replace(layer, mapping=asked)
            for layer, own in zip(plan.layers, fixed, strict=True)
        )
        image = _alone(replace(plan, layers=layers), chip, data, options)
        names = [
            layer.name for layer, own in zip(layers, fixed, strict=True) if own == (kind is None)
        ]
        damages = _damages(image, names, chosen, state, task)
        for number, layer in enumerate(layers):
            if layer.name in damages:
                mapping = layer.mapping or chip.mapping
                cells = layer.weight.size * codebook(chip, mapping).planes
                found[number].append(Offer(spelled(mapping), cells, damages[layer.name]))
    return found


def _held(chip: Chip, kinds: Sequence[str]) -> list[str | None]:
    """Those of the mappings that the chip can hold.

    Raises:
        ChipError: it can hold none.
    """
    found: list[str | None] = []
    for kind in kinds:
        try:
            require_mapping(chip, parse_mapping(kind, chip), kind)
        except ChipError as cause:
            refused = cause
            continue
        found.append(kind)
    if not found:
        raise refused
    return found


def _alone(plan: Plan, chip: Chip, data: Dataset, options: Options) -> Image:
    """The image whose layers were each quantized on the float network's inputs."""
    run, counted = calibration_on(plan, data, options), options.counted(calibrated=True)
    if options.equalize:
        plan = Equalize(run, counted)(plan, chip)
    quantize = Quantize(_InFloat(run), options.feedback, counted)
    return compile_model(quantize(plan, chip), chip, options=replace(options, mapping={}))


def _damages(
    image: Image, names: Sequence[str], data: Dataset, state: State, task: Task | None
) -> dict[str, float]:
    """The loss of the network where each of these layers alone is what the chip makes of it."""
    sessions, in_float = state.sessions(image), teacher_array(image)
    total = dict.fromkeys(names, 0.0)
    count = 0
    for start in range(0, len(data), BATCH_SIZE):
        feed = tensors(data.feed(start, start + BATCH_SIZE))
        wanted = list(sessions[0].evaluate(feed, array=in_float).values())
        goal = Goal.of(task, wanted, states=state_outputs(sessions[0], data))
        samples = samples_of(feed)
        count += samples
        for session in sessions:
            for name in names:
                found = session.evaluate(feed, array=_one(session, name, in_float))
                loss = float(goal.loss(list(found.values()), wanted))
                total[name] += loss * samples / len(sessions)
    return {name: max(value / count, 0.0) for name, value in total.items()}


def _one(
    session: Session, name: str, in_float: Callable[[ir.Node, torch.Tensor], torch.Tensor]
) -> Callable[[ir.Node, torch.Tensor], torch.Tensor]:
    """One layer on the chip, all others in float."""

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        return session.array(node, x) if layer_of(node) == name else in_float(node, x)

    return array
