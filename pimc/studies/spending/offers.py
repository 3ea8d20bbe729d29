"""What each layer may be: mappings, ranges of its ADCs, digital; with cost and damage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pimc.api import calibration_on
from pimc.api import compile as compile_model
from pimc.chip.codebook import codebook
from pimc.chip.design import Chip
from pimc.chip.layer_mapping import parse_mapping, require_mapping, spelled
from pimc.chip.sections import LayerMapping
from pimc.data.dataset import Dataset
from pimc.errors import ChipError, UsageError
from pimc.image.image import Image
from pimc.passes.equalize.equalize import Equalize
from pimc.passes.options import Options
from pimc.passes.quantize.quantize import Calibration, Quantize
from pimc.plan.records import Plan
from pimc.progress import Progress, silent
from pimc.studies.spending.cost import Price
from pimc.studies.spending.front import Offer
from pimc.studies.spending.prediction import damages
from pimc.tasks.task import Task

Array64 = npt.NDArray[np.float64]

__all__ = ["KINDS", "SAMPLES", "Trials", "offers"]

#: What is tried where nobody says otherwise; mappings that a chip cannot hold are left out.
KINDS = ("offset", "differential", "sliced:2", "sliced:3", "digital")
#: Samples that damages are predicted on.
SAMPLES = 64


@dataclass(frozen=True)
class Trials:
    """What is tried.

    Attributes:
        kinds: mappings as users write them, ``digital`` among them; :data:`KINDS` if there are
            none, of which ``digital`` only where cells or arrays are saved and
            no layers are copied.
        ranges: ways to choose the ADC's range, beside that of the chip.
    """

    kinds: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    price: Price = field(default_factory=Price)

    def settled(self, *, copied: bool) -> Trials:
        """What is tried, with its defaults filled in.

        Args:
            copied: layers get copies, which are of layers on the array.

        Raises:
            UsageError: copies, and digital layers asked for.
        """
        if copied and "digital" in self.kinds:
            raise UsageError(
                "copies are of layers on the array", "digital", "leave one of them out"
            )
        on_array = copied or self.price.minimize in ("energy", "latency")
        defaults = tuple(kind for kind in KINDS if not (on_array and kind == "digital"))
        return replace(self, kinds=self.kinds or defaults)

    def on_array(self, chip: Chip) -> list[str]:
        """Those of the mappings that a chip can hold.

        Raises:
            ChipError: it can hold none.
            UsageError: there is no mapping among them.
        """
        found, refused = [], None
        for kind in self.kinds:
            if kind == "digital":
                continue
            try:
                require_mapping(chip, parse_mapping(kind, chip), kind)
            except ChipError as cause:
                refused = cause
                continue
            found.append(kind)
        if not found:
            raise refused or UsageError(
                "nothing would be on the array", "digital", "try a mapping, too"
            )
        return found


@dataclass
class _InFloat:
    """Calibration that quantizes every layer on the float network's inputs.

    So what one layer loses does not depend on what those before it are.
    """

    run: Calibration
    in_float: Callable[[str, Array64], Array64] | None = field(default=None)

    def __call__(
        self,
        graph: ir.Model,
        on_array: Callable[[str, Array64], Array64],
        *,
        most: int | None = None,
    ) -> None:
        in_float = self.in_float
        if in_float is None:  # the quantizer runs the float network first
            self.in_float = on_array
            self.run(graph, on_array, most=most)
            return

        def both(name: str, x: Array64) -> Array64:
            on_array(name, x)
            return in_float(name, x)

        self.run(graph, both, most=most)


def offers(
    plan: Plan,
    chip: Chip,
    data: Dataset,
    options: Options,
    trials: Trials,
    *,
    task: Task | None = None,
    progress: Progress = silent,
) -> list[list[Offer]]:
    """What each layer may be; one with a mapping of its own keeps it.

    Each mapping and range is quantized once for the whole network.

    Args:
        plan: after the partition.
        data: calibration samples, of which some are used.
        task: says what outputs are held to; judged by their shape if None.

    Raises:
        ModelError: gradients cannot reach a layer.
        ChipError, UsageError: as of :meth:`Trials.on_array`; a range that the chip cannot have;
            a cost that is not known.
    """
    some = np.linspace(0, len(data) - 1, min(SAMPLES, len(data))).astype(np.int64)
    chosen = data.on(plan.graph.graph.inputs).subset(np.unique(some))
    own = [layer.mapping is not None for layer in plan.layers]
    found: list[list[Offer]] = [[] for _ in plan.layers]
    tried: list[str | None] = list(trials.on_array(chip))
    every = [
        (kind, how)
        for kind in ([None, *tried] if any(own) else tried)
        for how in (None, *trials.ranges)
    ]
    share = options.counted(calibrated=True)
    for kind, how in progress(every, "weighing mappings", len(every)):
        asked = None if kind is None else parse_mapping(kind, chip)
        quantized, image = _alone(_mapped(plan, own, asked), chip, data, options, how)
        predicted = damages(quantized, image, chosen, task=task, left=share)
        costs = trials.price.layers(image, options.packing)
        for number, layer in enumerate(quantized.layers):
            if own[number] == (kind is None):
                mapping, damage = layer.mapping or chip.mapping, predicted[layer.name]
                cells = layer.weight.size * codebook(chip, mapping).planes
                found[number].append(
                    Offer(
                        spelled(mapping), cells, costs[number],
                        reading=damage.reading, writing=damage.writing, adc_range=how,
                    )
                )  # fmt: skip
    if "digital" in trials.kinds:
        prices = trials.price.all_digitally(plan.layers, image, chip)
        for number, price in enumerate(prices):
            if not own[number]:
                found[number].append(Offer("digital", 0, price))
    return found


def _mapped(plan: Plan, own: Sequence[bool], mapping: LayerMapping | None) -> Plan:
    layers = tuple(
        layer if kept else replace(layer, mapping=mapping)
        for layer, kept in zip(plan.layers, own, strict=True)
    )
    return replace(plan, layers=layers)


def _alone(
    plan: Plan, chip: Chip, data: Dataset, options: Options, how: str | None
) -> tuple[Plan, Image]:
    """The plan whose layers were each quantized on the float network's inputs, and its image."""
    run, counted = calibration_on(plan, data, options), options.counted(calibrated=True)
    if options.equalize:
        plan = Equalize(run, counted)(plan, chip)
    ranges = ({} if how is None else {"*": how}) | dict(options.adc_range)
    plan = Quantize(_InFloat(run), options.feedback, counted, adc_range=ranges)(plan, chip)
    bare = replace(options, mapping={}, adc_range={}, phases=True)
    return plan, compile_model(plan, chip, options=bare)
