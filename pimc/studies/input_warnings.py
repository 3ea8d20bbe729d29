"""Warnings of inputs that the network was not made for: what is prepared otherwise, and how."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip.converters import dac_limits
from pimc.data.dataset import Dataset
from pimc.data.layout import Preprocess
from pimc.data.preparation import Prepared, Statistics, some_of, unlike
from pimc.errors import ModelError
from pimc.image.format.notes import InputNote
from pimc.image.image import Image
from pimc.plan.records import is_array_node, layer_of
from pimc.runtime.graph.executor import Executor
from pimc.runtime.sequences import grows, steps_apart, unrolled
from pimc.runtime.session import inputs_of
from pimc.studies.evaluate import float_session

__all__ = ["chance_warning", "data_warnings", "feed_warnings"]

#: Samples on which inputs are held against the DAC's range.
_RANGE_SAMPLES = 16
#: Part of the inputs beyond the DAC's range that is named.
_BEYOND = 0.01
#: Fewest samples by which an accuracy is told from chance, in standard errors.
_CHANCE_SAMPLES, _SIGMAS = 30, 2.0
_MISTAKES = (
    "bytes not divided by 255, normalised twice, or channels in another order (RGB and BGR, NCHW "
    "and NHWC)"
)


def data_warnings(image: Image, data: Dataset, *, prepared: bool = False) -> list[str]:
    """Warnings of data for an image's network; mostly none.

    Args:
        prepared: the data are as the network gets them, and nobody knows how they came to be so.
    """
    some = data.subset(some_of(len(data))).on(inputs_of(image))
    if some.is_sequential:
        some = some.subset(np.arange(min(len(some), _RANGE_SAMPLES)))
        some = steps_apart(some) if grows(some) else unrolled(some, image)
        some = some.subset(some_of(len(some)))
    given = None if prepared else {name: column.how for name, column in some.columns.items()}
    return feed_warnings(image, some.all_inputs(), given)


def feed_warnings(
    image: Image,
    feed: Mapping[str, npt.NDArray[Any]],
    given: Mapping[str, Preprocess] | None = None,
) -> list[str]:
    """Warnings of inputs as the network gets them, by name, samples first; mostly none.

    Args:
        given: how they were prepared, by name; None where nobody knows.
    """
    found = []
    note = image.calibration
    states = {} if note is None else note.states
    for number, arg in enumerate(arg for arg in inputs_of(image) if arg.name not in states):
        values = feed.get(arg.name)
        if values is None:  # a state of another length at every step
            continue
        known = None if note is None else note.of(number, arg.name)
        if arg.type == "tensor(float)" and known is not None and values.ndim:
            how = None if given is None else given[arg.name]
            wrong = unlike(_prepared(known), values[some_of(len(values))], how)
            if wrong is not None:
                named = "the inputs are" if len(feed) == 1 else f"the inputs {arg.name} are"
                found.append(f"{named} not like the calibration data: {wrong}")
    beyond = _beyond(image, feed)
    if beyond is not None:
        found.append(beyond if found else f"{beyond}: the inputs may be {_MISTAKES}")
    return found


def chance_warning(image: Image, data: Dataset, accuracy: float | None) -> str | None:
    """A warning where the float network does no better on labelled data than guessing.

    Args:
        accuracy: of the float network; None where the image has none.
    """
    if accuracy is None or len(data) < _CHANCE_SAMPLES:
        return None
    one = unrolled(data.subset([0]).on(inputs_of(image)), image)
    classes = float_session(image).run(None, one.feed(0, 1))[0].size
    chance = 1 / max(classes, 1)
    error = math.sqrt(chance * (1 - chance) / len(data))
    if accuracy > chance + _SIGMAS * error:
        return None
    return (
        f"the float network is right on {100 * accuracy:.1f} % of {len(data)} samples, where "
        f"chance is {100 * chance:.1f} %: the inputs may not be prepared as for its training "
        f"({_MISTAKES}), or the classes numbered otherwise"
    )


def _prepared(note: InputNote) -> Prepared:
    met = Statistics(note.channel_mean, note.channel_std, note.low, note.high)
    return Prepared(note.scale, note.mean, note.std, note.samples, met)


def _beyond(image: Image, feed: Mapping[str, npt.NDArray[Any]]) -> str | None:
    """A warning where the first layer's inputs meet the ends of the DAC's range."""
    graph = image.graph()
    node = next((node for node in graph.graph if is_array_node(node)), None)
    if node is None or node.inputs[0] is None or node.inputs[0].name is None:
        return None
    name = layer_of(node)
    layer = next(layer for layer in image.layers if layer.name == name)
    if layer.input_scale is None:
        return None
    free = all(arg.shape and not isinstance(arg.shape[0], int) for arg in inputs_of(image))
    try:
        some = {
            key: torch.from_numpy(np.array(value[:_RANGE_SAMPLES] if free else value))
            for key, value in feed.items()
        }
        with torch.inference_mode():
            met = Executor(graph).run(some, want=(node.inputs[0].name,))[node.inputs[0].name]
    except (ModelError, TypeError):
        return None  # what does not run is said where it is run
    low, high = dac_limits(image.chip, layer.input_signed)
    codes = met / layer.input_scale
    # Half a code beyond: what is rounded to the last one is not cut off.
    share = float(((codes > high + 0.5) | (codes < low - 0.5)).float().mean())
    if share <= _BEYOND:
        return None
    return (
        f"{100 * share:.1f} % of the inputs lie beyond the DAC's range of the first layer, "
        f"{name}, and are cut off"
    )
