"""Networks with a state, step by step: what they give, and their steps as samples of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pimc.data.column import Column
from pimc.data.dataset import Dataset, Feed, Preprocess
from pimc.data.inputs import Input, free_inputs
from pimc.data.rows import Rows, RowWriter, constant
from pimc.data.stateful.states import States
from pimc.errors import DataError
from pimc.files.strict import did_you_mean
from pimc.image.image import Image
from pimc.progress import Progress, silent
from pimc.runtime.network import GraphNetwork, Network
from pimc.runtime.session import BATCH_SIZE
from pimc.runtime.teacher import teacher_array

__all__ = [
    "checked_states",
    "follow",
    "grows",
    "in_steps",
    "samples_first",
    "state_outputs",
    "steps_apart",
    "unrolled",
]

Array = npt.NDArray[Any]


def follow(
    network: Network, data: Dataset, feed: Feed, names: Sequence[str]
) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """States before each step of some sequences, and outputs of the step; samples always first.

    Args:
        data: held to the network (:meth:`~pimc.data.dataset.Dataset.on`).
        feed: what :meth:`~pimc.data.dataset.Dataset.feed` gave of it.
        names: of the outputs; those that are states come besides.

    Raises:
        DataError: an output does not feed the input that it was named for.
    """
    states = data.states
    assert states is not None, "the network has no state"
    wanted = list(dict.fromkeys((*names, *states.feeds.values())))
    count = max(len(value) for value in feed.values() if value.ndim)
    now = {name: feed[name] if name in feed else states.start(name, count) for name in states.feeds}
    for step in range(_steps(data)):
        given = {
            name: value[:, step] if data.columns[name].stepped else value
            for name, value in feed.items()
            if name not in now
        }
        given |= now
        placed = {name: _to(value, data.axes.get(name, 0)) for name, value in given.items()}
        found = dict(zip(wanted, network.run(wanted, placed), strict=True))
        found = {name: _from(value, states.axes.get(name, 0)) for name, value in found.items()}
        yield now, found
        now = {
            name: _feeding(found[output], output, states.inputs[name], count, data.name)
            for name, output in states.feeds.items()
        }


def in_steps(network: Network, data: Dataset, feed: Feed, names: Sequence[str]) -> dict[str, Array]:
    """Outputs for some sequences by name, (samples, steps, …); of one that grows, the last.

    Where the data have no axis of steps the outputs have none either. Arguments and errors are
    those of :func:`follow`.
    """
    parts: dict[str, list[Array]] = {name: [] for name in names}
    for _, found in follow(network, data, feed, names):
        for name, values in parts.items():
            grown = values and values[-1].shape != found[name].shape
            parts[name] = [found[name]] if grown else [*values, found[name]]
    whole = data.states is None or data.states.steps is None
    return {
        name: values[-1] if whole or len(values) < 2 <= _steps(data) else np.stack(values, axis=1)
        for name, values in parts.items()
    }


def unrolled(
    data: Dataset,
    network: Image | Network,
    progress: Progress = silent,
) -> Dataset:
    """Every step of every sequence as a sample of its own, with the float network's states.

    Data of a network without a state are given back as they are, held to the network.

    Args:
        data: samples for the network.
        network: what computes the states: an image, by its float network, or another one.

    Raises:
        DataError: data that do not fit; an output that does not feed the input it was named for, or
            a state that grows from step to step.
        ImageError: an image without its float weights.
        UsageError: the network takes a fixed number of samples.
    """
    if not data.is_sequential:
        return data
    runs = (
        GraphNetwork(network.graph(), teacher_array(network))
        if isinstance(network, Image)
        else network
    )
    inputs = runs.get_inputs()
    free_inputs(inputs)
    data = data.on(inputs)
    states = checked_states(data, runs)
    if grows(data):
        grown = next(name for name in states.feeds if 0 in states.start(name, 1).shape)
        raise _growing(grown, data)
    if _steps(data) == 1 and not states.feeds.keys() & data.columns.keys():
        rows: dict[str, Rows] = {
            name: constant(states.start(name, 1)[0], len(data)) for name in states.feeds
        }
    else:
        rows = _states_before(runs, data, states, progress)
    apart = steps_apart(data)
    columns = {name: column for name, column in apart.columns.items() if name not in rows}
    columns |= {
        name: Column(values, Preprocess(layout="any"), states.inputs[name].dtype, called=name)
        for name, values in rows.items()
    }
    return replace(apart, columns={arg.name: columns[arg.name] for arg in inputs})


def checked_states(data: Dataset, network: Network) -> States:
    """The states of data that are held to a network, whose outputs feed them.

    Raises:
        DataError: there is no such output, or it has another shape or type than the input.
    """
    states = data.states
    assert states is not None, "the network has no state"
    outputs = {arg.name: arg for arg in network.get_outputs()}
    inputs = {arg.name: arg for arg in network.get_inputs()}
    for name, output in states.feeds.items():
        if output not in outputs:
            near = did_you_mean(output, outputs)
            message = f"states: the network has no output {output}{near}, to feed {name}"
            raise DataError(message, data.name, f"its outputs are {', '.join(outputs)}")
        theirs, ours = outputs[output], inputs[name]
        # A shape of no axes is one that the model does not say.
        unlike = theirs.shape and (
            len(theirs.shape) != len(ours.shape)
            or any(
                isinstance(have, int) and isinstance(want, int) and have != want
                for have, want in zip(theirs.shape, ours.shape, strict=True)
            )
        )
        if unlike or theirs.type != ours.type:
            raise DataError(
                f"states: the output {output} is {theirs.type} {list(theirs.shape)}, the input "
                f"{name} is {ours.type} {list(ours.shape)}",
                data.name,
                "a state has one shape and type",
            )
    return states


def steps_apart(data: Dataset) -> Dataset:
    """Every step of every sequence as a sample of its own, without the states before it."""
    assert data.states is not None, "the network has no state"
    columns = {name: column.apart(_steps(data)) for name, column in data.columns.items()}
    return replace(data, columns=columns, targets={}, states=replace(data.states, apart=True))


def grows(data: Dataset) -> bool:
    """Whether a state of these sequences has no length at their start, and will have one."""
    states = data.states
    if states is None or _steps(data) == 1:
        return False
    begun = [name for name in states.feeds if name not in data.columns]
    return any(0 in states.start(name, 1).shape for name in begun)


def samples_first(value: Any, data: Dataset, output: str) -> Any:
    """An output, array or tensor, for data whose steps are samples by now, samples first."""
    axis = 0 if data.states is None else data.states.axes.get(output, 0)
    if not axis:
        return value
    return value.movedim(axis, 0) if isinstance(value, torch.Tensor) else _from(value, axis)


def state_outputs(network: Network, data: Dataset) -> frozenset[int]:
    """Numbers of the outputs that feed inputs."""
    states = set() if data.states is None else set(data.states.feeds.values())
    return frozenset(n for n, arg in enumerate(network.get_outputs()) if arg.name in states)


def _states_before(
    network: Network, data: Dataset, states: States, progress: Progress
) -> dict[str, Rows]:
    """(samples · steps, …) the states before every step."""
    writers: dict[str, RowWriter] = {}
    starts = range(0, len(data), BATCH_SIZE)
    for start in progress(starts, "following the states", len(starts)):
        feed = data.feed(start, start + BATCH_SIZE)
        met: dict[str, list[Array]] = {name: [] for name in states.feeds}
        for now, _ in follow(network, data, feed, ()):
            for name, value in now.items():
                if met[name] and met[name][0].shape != value.shape:
                    raise _growing(name, data)
                met[name].append(value)
        for name, values in met.items():
            stacked = np.stack(values, axis=1)
            dtype = states.inputs[name].dtype
            writer = writers.setdefault(name, RowWriter(stacked.shape[2:], dtype))
            writer.write(np.ascontiguousarray(stacked, dtype).reshape(-1).view(np.uint8).data)
    return {name: writer.done() for name, writer in writers.items()}


def _growing(name: str, data: Dataset) -> DataError:
    return DataError(
        f"the state {name} grows from step to step, so that steps cannot be samples of their own",
        data.name,
        "give what the network takes at once (whole windows) without an axis of steps",
    )


def _feeding(value: Array, output: str, wanted: Input, count: int, where: str) -> Array:
    """An output as the state of the next step."""
    fits = (
        value.ndim == len(wanted.shape)
        and value.shape[0] == count
        and all(
            size in (None, have)
            for size, have in zip(wanted.shape[1:], value.shape[1:], strict=True)
        )
    )
    if not fits or value.dtype != wanted.dtype:
        raise DataError(
            f"states: the output {output} is {value.dtype} {list(value.shape)}, samples first, the "
            f"input {wanted.name} is {wanted.dtype} {[count, *wanted.shape[1:]]}",
            where,
            "a state has one shape and type",
        )
    return value


def _steps(data: Dataset) -> int:
    """How often the network runs for a sequence."""
    return 1 if data.states is None else data.states.steps or 1


def _to(value: Array, axis: int) -> Array:
    """Samples where the network has them."""
    return np.ascontiguousarray(np.moveaxis(value, 0, axis)) if value.ndim and axis else value


def _from(value: Array, axis: int) -> Array:
    """Samples first."""
    return np.moveaxis(value, axis, 0) if axis else value
