"""Control flow, sequences and optional values.

A graph attribute arrives as a callable that takes the body's inputs and returns
the list of its outputs; values of the outer graph are bound to it already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pimc.runtime.ops.registry import NotNative, OpContext, op

Body = Callable[..., list[Any]]


@op("If", host=(0,), opaque=True)
def if_(condition: Tensor, *, then_branch: Body, else_branch: Body) -> tuple[Any, ...]:
    """One of two bodies."""
    return tuple(then_branch() if bool(condition.item()) else else_branch())


@op("Loop", host=(0, 1), opaque=True)
def loop(
    trips: Tensor | None = None, condition: Tensor | None = None, *state: Any, body: Body
) -> tuple[Any, ...]:
    """The body repeated while the condition holds; scan outputs are stacked."""
    limit = None if trips is None else int(trips.item())
    going = condition is None or bool(condition.item())
    carried = list(state)
    scans: list[list[Any]] = []
    step = 0
    while going and (limit is None or step < limit):
        results = body(torch.tensor(step), torch.tensor(True), *carried)
        going = bool(results[0].item())
        carried = results[1 : 1 + len(state)]
        scans.append(results[1 + len(state) :])
        step += 1
    if not scans:
        n_scans = getattr(body, "n_outputs", 1 + len(state)) - 1 - len(state)
        if n_scans:
            raise NotNative("the shape of an empty scan output is in its declaration only")
        return tuple(carried)
    return (*carried, *(torch.stack(column) for column in zip(*scans, strict=True)))


@op("Scan", since=9, opaque=True)
def scan(
    *values: Tensor,
    body: Body,
    num_scan_inputs: int,
    scan_input_axes: Sequence[int] | None = None,
    scan_input_directions: Sequence[int] | None = None,
    scan_output_axes: Sequence[int] | None = None,
    scan_output_directions: Sequence[int] | None = None,
) -> tuple[Tensor, ...]:
    """The body once a slice of the scan inputs; states are handed on."""
    n_states = len(values) - num_scan_inputs
    state = list(values[:n_states])
    axes = scan_input_axes or [0] * num_scan_inputs
    backward = scan_input_directions or [0] * num_scan_inputs
    slices = [
        v.flip(a).unbind(a) if back else v.unbind(a)
        for v, a, back in zip(values[n_states:], axes, backward, strict=True)
    ]
    outputs: list[list[Tensor]] = []
    for step in zip(*slices, strict=True):
        results = body(*state, *step)
        state = results[:n_states]
        outputs.append(results[n_states:])
    columns = list(zip(*outputs, strict=True))
    out_axes = scan_output_axes or [0] * len(columns)
    out_back = scan_output_directions or [0] * len(columns)
    joined = [
        torch.stack(tuple(reversed(column)) if back else column, dim=axis)
        for column, axis, back in zip(columns, out_axes, out_back, strict=True)
    ]
    return (*state, *joined)


@op("SequenceConstruct", since=11, opaque=True)
def sequence_construct(*values: Tensor) -> list[Tensor]:
    """A list of tensors."""
    return list(values)


@op("SequenceEmpty", since=11, opaque=True)
def sequence_empty(*, dtype: int = 1) -> list[Tensor]:
    """A list without entries."""
    return []


@op("SequenceAt", since=11, host=(1,), opaque=True)
def sequence_at(values: list[Tensor], place: Tensor) -> Tensor:
    """One entry of a list."""
    return values[int(place.item())]


@op("SequenceInsert", since=11, host=(2,), opaque=True)
def sequence_insert(
    values: list[Tensor], value: Tensor, place: Tensor | None = None
) -> list[Tensor]:
    """A list with one entry more, at the end or before ``place``."""
    at = len(values) if place is None else int(place.item())
    at = at + len(values) if at < 0 else at
    return [*values[:at], value, *values[at:]]


@op("SequenceErase", since=11, host=(1,), opaque=True)
def sequence_erase(values: list[Tensor], place: Tensor | None = None) -> list[Tensor]:
    """A list with one entry less."""
    at = (-1 if place is None else int(place.item())) % len(values)
    return [*values[:at], *values[at + 1 :]]


@op("SequenceLength", since=11, opaque=True, gradient=False)
def sequence_length(values: list[Tensor]) -> Tensor:
    """Number of entries."""
    return torch.tensor(len(values), dtype=torch.int64)


@op("SplitToSequence", since=11, host=(1,))
def split_to_sequence(
    x: Tensor, sizes: Tensor | None = None, *, axis: int = 0, keepdims: int = 1
) -> list[Tensor]:
    """Cut along ``axis``: into single slices, equal pieces or the given sizes."""
    if sizes is None:
        return list(torch.split(x, 1, dim=axis) if keepdims else x.unbind(axis))
    if sizes.ndim == 0:
        return list(torch.split(x, int(sizes.item()), dim=axis))
    return list(torch.split(x, sizes.tolist(), dim=axis))


@op("ConcatFromSequence", since=11, opaque=True)
def concat_from_sequence(values: list[Tensor], *, axis: int, new_axis: int = 0) -> Tensor:
    """All entries joined along an old or a new axis."""
    return torch.stack(values, dim=axis) if new_axis else torch.cat(values, dim=axis)


@op("Optional", since=15, opaque=True)
def optional(value: Any = None, *, type: Any = None) -> Any:
    """The value or its absence."""
    return value


@op("OptionalGetElement", since=15, opaque=True)
def optional_get_element(value: Any) -> Any:
    """The value of an optional that has one."""
    if value is None:
        raise ValueError("the optional value is absent")
    return value


@op("OptionalHasElement", since=15, opaque=True, gradient=False)
def optional_has_element(value: Any = None, *, ctx: OpContext) -> Tensor:
    """Whether there is a value."""
    return torch.tensor(value is not None)
