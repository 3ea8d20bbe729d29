"""Which element of a chip costs how much accuracy, measured on dies that differ in it alone.

For another task than classification read its own figure for accuracy.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from dataclasses import replace

from pimc.chip.converters import dac_limits, plane_full_scale
from pimc.chip.design import Chip
from pimc.chip.elements import ADC, DAC, present, without
from pimc.image.image import Image
from pimc.progress import Progress, silent, ticking
from pimc.runtime.teacher import has_teacher
from pimc.studies.ablation_result import (
    Cost,
    Explanation,
    Quantization,
)
from pimc.studies.drawn import FRESH, Reading
from pimc.studies.evaluate import Batches, accuracy, figure, float_session, measure
from pimc.studies.intervals import Difference
from pimc.studies.snr import SNR_IMAGES, layer_snr
from pimc.tasks.task import Array

__all__ = ["explain", "on_chip"]

#: The elements that are on.
Setting = frozenset[str]


def explain(
    image: Image,
    batches: Batches,
    seeds: Sequence[int],
    *,
    known: Sequence[Array] | None = None,
    in_float: float | None = None,
    reading: Reading = FRESH,
    snr_images: int = SNR_IMAGES,
    progress: Progress = silent,
) -> Explanation:
    """Measure the elements of the image's chip on dies drawn from ``seeds``.

    The dies of one seed differ in the element in question alone: same cells, same draws, same
    samples, so the differences are paired.

    Args:
        batches: labelled samples.
        seeds: of the dies, one at least, and of their read noise.
        known: units of the task for these dies with everything on, where they are known.
        in_float: figure of the float network, likewise.
        reading: how the dies are read.
        snr_images: samples that the signal-to-noise ratios are measured on.
        progress: told of the dies measured.

    Raises:
        DataError, UsageError: as :func:`pimc.studies.evaluate.accuracy` does.
    """
    elements = present(image.chip, reading.age_s)
    names = Setting(element.name for element in elements)
    converters = names & {DAC.name, ADC.name}
    settings = [names, Setting(), converters & {DAC.name}, converters]
    settings += [names - {name} for name in sorted(names)]
    settings += [Setting({name}) for name in sorted(names)]
    batches = batches.against(image, progress)
    found = _Measured(image, batches, tuple(seeds), reading)
    if known is not None:
        found.known |= {(names, seed): one for seed, one in zip(seeds, known, strict=True)}
    found.measure(settings, progress)
    if in_float is None and has_teacher(image):
        in_float = accuracy(float_session(image), batches)
    return Explanation(
        accuracies=found.on_each_die(names),
        quantization=Quantization(
            in_float,
            *(found.on_each_die(s)[0] for s in (Setting(), converters & {DAC.name}, converters)),
        ),
        costs=tuple(
            Cost(
                element,
                switched_off=found.lost(names - {element.name}, names),
                alone=found.lost(Setting(), Setting({element.name})),
            )
            for element in elements
        ),
        together=found.lost(Setting(), names),
        layers=layer_snr(
            image, seeds, batches.data, snr_images, reading=reading, progress=progress
        ),
        snr_samples=min(snr_images, len(batches.data)),
        metric=batches.task.metric,
    )


def on_chip(image: Image, chip: Chip) -> Image:
    """The image's levels on a chip that may have other statistics and other DAC bits.

    Converters keep their ranges: more DAC codes of the same range are smaller ones, and more of
    them make up the current of one ADC code.
    """
    layers = []
    for layer in image.layers:
        signed = layer.input_signed
        codes = dac_limits(chip, signed)[1] / dac_limits(image.chip, signed)[1]
        full_scale = plane_full_scale(chip, signed) / plane_full_scale(image.chip, signed)
        scale, lsb = layer.input_scale, layer.adc_column_lsb_us
        layers.append(
            replace(
                layer,
                input_scale=None if scale is None else scale / codes,
                adc_lsb_us=layer.adc_lsb_us * full_scale,
                adc_column_lsb_us=None if lsb is None else (lsb * full_scale).astype(lsb.dtype),
            )
        )
    return image.with_chip(chip).with_layers(layers)


class _Measured:
    """Units of the task by setting and die; what no die differs in is measured once."""

    def __init__(
        self, image: Image, batches: Batches, seeds: tuple[int, ...], reading: Reading
    ) -> None:
        self.known: dict[tuple[Setting, int], Array] = {}
        self._image, self._batches, self._seeds, self._reading = image, batches, seeds, reading
        elements = present(image.chip, reading.age_s)
        self._all = Setting(element.name for element in elements)
        self._drawn = Setting(element.name for element in elements if element.drawn)

    def measure(self, settings: Sequence[Setting], progress: Progress) -> None:
        """Measure what is not known yet."""
        wanted = dict.fromkeys(key for setting in settings for key in self._keys(setting))
        missing = [key for key in wanted if key not in self.known]
        with ticking(progress, "elements", len(missing)) as tick:
            for setting, keys in itertools.groupby(missing, operator.itemgetter(0)):
                image = on_chip(self._image, without(self._image.chip, self._all - setting))
                for _, seed in keys:
                    session = self._reading.session(image, seed, converters=ADC.name in setting)
                    self.known[setting, seed] = measure(session, self._batches)
                    tick()

    def on_each_die(self, setting: Setting) -> tuple[float, ...]:
        """The task's figure on every die."""
        return tuple(figure(self._batches, units) for units in self._units(setting))

    def lost(self, better: Setting, worse: Setting) -> Difference:
        """What every die loses from one setting to the other; negative where it gains."""
        task, ends = self._batches.task, (self._units(better), self._units(worse))
        return Difference.of(task, *(ends if task.metric.higher_is_better else ends[::-1]))

    def _units(self, setting: Setting) -> list[Array]:
        return [self.known[key] for key in self._keys(setting)]

    def _keys(self, setting: Setting) -> list[tuple[Setting, int]]:
        """What is known of each die; without an element that is drawn all are like the first."""
        seeds = self._seeds if setting & self._drawn else self._seeds[:1] * len(self._seeds)
        return [(setting, seed) for seed in seeds]
