"""Networks with a state: which output feeds which input, one step later.

Data of such a network hold its other inputs: sequences, where an array has an axis of steps more
than the input, else what the network is given at once, from the state at the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.data.column import Column
from pimc.data.inputs import Input
from pimc.errors import DataError
from pimc.files.strict import did_you_mean

__all__ = ["ONLY", "States", "expanded", "held_to", "hint_for", "ordinary", "placed"]

#: What the only input is called where no network says its name.
ONLY = "x"
_HINT = 'name the output that feeds it in data.toml: [states] with input = "output"'


@dataclass(frozen=True)
class States:
    """Which output of a network feeds which input, and what is known of the sequences.

    Attributes:
        feeds: names of outputs by that of the input that they feed one step later.
        inputs: these inputs by name, where the network is known.
        axes: batch axis of the outputs that feed another axis than the first.
        steps: how many steps each sequence has; None where there is no axis of steps.
        apart: every step is a sample of its own by now, with the states before it as inputs.
    """

    feeds: Mapping[str, str]
    inputs: Mapping[str, Input] = field(default_factory=dict)
    axes: Mapping[str, int] = field(default_factory=dict)
    steps: int | None = None
    apart: bool = False

    def start(self, name: str, count: int) -> npt.NDArray[Any]:
        """The state of so many sequences at their start: zeros, or nothing of free axes."""
        one = self.inputs[name]
        return np.zeros((count, *(size or 0 for size in one.shape[1:])), one.dtype)


def expanded(feeds: Mapping[str, str], inputs: Iterable[str]) -> dict[str, str]:
    """Outputs by the inputs that they feed, where ``*`` on both sides stands for any part of names.

    A pattern that no input has is kept as it is.
    """
    found: dict[str, str] = {}
    for fed, output in feeds.items():
        before, star, after = fed.partition("*")
        named = [
            name
            for name in inputs
            if star
            and output.count("*") == 1
            and name.startswith(before)
            and name.endswith(after)
            and len(name) >= len(before) + len(after)
        ]
        found |= {
            name: output.replace("*", name[len(before) : len(name) - len(after)]) for name in named
        } or {fed: output}
    return found


def ordinary(wanted: Sequence[Input], feeds: Mapping[str, str], where: str) -> tuple[Input, ...]:
    """The inputs of a network that data must hold: those that are no states.

    Raises:
        DataError: a state is no input, or has no samples; or there is no other input.
    """
    inputs = {one.name: one for one in wanted}
    for name in feeds:
        if name not in inputs:
            message = f"states: the network has no input {name}{did_you_mean(name, inputs)}"
            raise DataError(message, where, f"its inputs are {', '.join(inputs)}")
        if not inputs[name].shape:
            message = f"states: the input {name} is a single value, the same for all samples"
            raise DataError(message, where, "a state has a value a sample")
    found = tuple(one for one in wanted if one.name not in feeds)
    if not found:
        message = f"states: all inputs of the network are states ({', '.join(feeds)})"
        raise DataError(message, where, "name the states alone: data hold what feeds the network")
    return found


def held_to(
    columns: Mapping[str, Column], states: States | None, wanted: Sequence[Input], where: str
) -> tuple[dict[str, Column], States | None]:
    """Columns by the names of a network's inputs, in the types that it takes.

    Args:
        states: of sequences, whose steps the states are not known of.

    Returns:
        The columns, and what is known of the sequences then.

    Raises:
        DataError: there is no value for an input, or one of another shape; states that the network
            does not have.
    """
    if states is not None:
        states = replace(states, feeds=expanded(states.feeds, [one.name for one in wanted]))
    needed = ordinary(wanted, states.feeds if states is not None else {}, where)
    given = columns
    if len(needed) == len(given) == 1 and ONLY in given:
        given = {needed[0].name: given[ONLY]}
    names = [one.name for one in wanted]
    missing = [one.name for one in needed if one.name not in given]
    if missing or any(name not in names for name in given):
        raise DataError(
            f"the network's inputs are {', '.join(names)}, the data have {', '.join(columns)}",
            where,
            hint_for(missing, names)
            if missing and len(names) > 1
            else "give an array for each input under its name",
        )
    if states is not None:
        return _sequences(given, states, wanted, where)
    return {one.name: given[one.name].fitted(one, where) for one in wanted}, None


def _sequences(
    columns: Mapping[str, Column], states: States, wanted: Sequence[Input], where: str
) -> tuple[dict[str, Column], States]:
    """Columns held to a network with states, and what is known of the sequences then.

    Raises:
        DataError: sequences of different lengths, or a start value of another shape than its state.
    """
    plain = [one for one in wanted if one.name not in states.feeds]
    starts = [one for one in wanted if one.name in states.feeds]
    found = {one.name: columns[one.name].in_steps(one).fitted(one, where) for one in plain}
    found |= {one.name: columns[one.name].fitted(one, where) for one in starts
              if one.name in columns}  # fmt: skip
    lengths = {name: one.stored.shape[1] for name, one in found.items() if one.stepped}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in lengths.items())
        hint = "give every input a value a step, or one for all steps"
        raise DataError(f"inputs have different numbers of steps: {told}", where, hint)
    steps = next(iter(lengths.values()), None)
    axes = {states.feeds[one.name]: one.axis for one in starts if one.axis}
    inputs = {one.name: one for one in starts}
    return found, replace(states, inputs=inputs, axes=axes, steps=steps)


def placed(
    feed: Mapping[str, npt.NDArray[Any]], axes: Mapping[str, int]
) -> dict[str, npt.NDArray[Any]]:
    """Inputs, samples first, with their batch axis where the network has it."""
    return {
        name: np.ascontiguousarray(np.moveaxis(value, 0, axes[name])) if name in axes else value
        for name, value in feed.items()
    }


def hint_for(missing: Sequence[str], names: Sequence[str]) -> str:
    """How data that lack inputs may be mended."""
    if len(names) < 2:
        return "save x, and y"
    listed = f"the network's inputs are {', '.join(names)}"
    return f"{listed}; if {', '.join(missing)} is a state, {_HINT}"
