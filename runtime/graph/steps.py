"""A graph as a list of steps, and the loop that runs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import Any, Protocol, runtime_checkable

import onnx_ir as ir
import torch

from pimc.errors import ModelError, PimcError
from pimc.plan.records import is_array_node

ArrayCall = Callable[[ir.Node, torch.Tensor], torch.Tensor]
#: Of a node and its inputs for some samples, then for others, the outputs for the same.
JointCall = Callable[[ir.Node, Sequence[torch.Tensor]], Sequence[torch.Tensor]]


@runtime_checkable
class RectifiesArrays(Protocol):
    """An array call that can give what a rectifier makes of a layer's output, which is cheaper."""

    def rectified(self, node: ir.Node, x: torch.Tensor) -> torch.Tensor | None:
        """Relu of the layer's output; None where it cannot be had so."""
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """What a step may see beyond its inputs: the values around it and the array."""

    values: dict[str, Any]
    array: ArrayCall | None


StepCall = Callable[[Sequence[Any], Scope], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Step:
    """One node, ready to run.

    Args:
        node: the node.
        call: its function, from (inputs, scope) to outputs.
        inputs: names of the inputs, None where one is missing.
        captured: names that the node's bodies read from the graph around them.
        outputs: names of the outputs, None where nobody named one.
        gradient: whether outputs are made of the inputs' values; False for shapes, indices and
            comparisons.
        selecting: positions of the inputs whose values do not enter the outputs: they say where.
        broken: nodes inside (or this one) at which a gradient ends.
        foreign: whether the function is the caller's own, whose errors are not the model's.
    """

    node: ir.Node
    call: StepCall
    inputs: tuple[str | None, ...]
    captured: tuple[str, ...]
    outputs: tuple[str | None, ...]
    gradient: bool
    selecting: Callable[[], frozenset[int]]
    broken: Callable[[], list[ir.Node]]
    foreign: bool = False

    @property
    def uses(self) -> frozenset[str]:
        """All names the step reads."""
        return frozenset(name for name in self.inputs if name is not None) | set(self.captured)

    def carries(self) -> frozenset[str]:
        """Names of the values that the outputs are made of; none if no gradient passes."""
        if not self.gradient:
            return frozenset()
        where = self.selecting()
        values = (name for place, name in enumerate(self.inputs) if place not in where)
        return frozenset(name for name in values if name is not None) | set(self.captured)


@dataclass(frozen=True)
class Plan:
    """A graph or function body as steps in an order that can be run."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: dict[str, Any]
    steps: tuple[Step, ...]
    captured: tuple[str, ...]
    scheduled: tuple[Scheduled, ...]

    def run(self, arguments: Sequence[Any], scope: Scope) -> list[Any]:
        """Outputs for positional inputs, as the body of an outer node."""
        values = {name: scope.values[name] for name in self.captured}
        values.update(self.constants)
        padded = [*arguments, *[None] * (len(self.inputs) - len(arguments))]
        values.update(zip(self.inputs, padded, strict=True))
        execute(self.scheduled, Scope(values, scope.array))
        return [values[name] for name in self.outputs]

    def broken(self) -> list[ir.Node]:
        """Nodes between the inputs and the outputs at which a gradient ends."""
        return broken_between(self.steps, {*self.inputs, *self.captured}, self.outputs)


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A step, the outputs to keep and the values to forget after it.

    Attributes:
        rectified: what a Relu makes of an array layer's output that nothing else uses.
    """

    step: Step
    keep: tuple[str | None, ...]
    frees: tuple[str, ...]
    rectified: str | None = None


def schedule(
    steps: Sequence[Step], wanted: Iterable[str], given: Iterable[str]
) -> tuple[Scheduled, ...]:
    """The steps needed for ``wanted`` when ``given`` is known, with the last use of each value."""
    known, keep = set(given), set(wanted)
    needed = keep - known
    chosen: list[Step] = []
    for step in reversed(steps):
        if needed.isdisjoint(name for name in step.outputs if name is not None):
            continue
        chosen.append(step)
        needed = (needed | step.uses) - known
    seen = set(keep)
    result: list[Scheduled] = []
    for step in chosen:  # last step first: the first sight of a name is its last use
        kept = tuple(
            name if name is not None and name in seen and name not in known else None
            for name in step.outputs
        )
        while kept and kept[-1] is None:
            kept = kept[:-1]
        last = tuple(sorted(step.uses - seen))
        seen.update(last)
        result.append(Scheduled(step, kept, last))
    return _with_rectifiers(result[::-1])


def _with_rectifiers(entries: Sequence[Scheduled]) -> tuple[Scheduled, ...]:
    """The entries; those of array layers know of a Relu that is all that uses their output."""
    uses = Counter(name for entry in entries for name in entry.step.uses)
    behind = {
        entry.step.inputs[0]: entry.keep[0]
        for entry in entries
        if entry.step.node.op_type == "Relu"
        and entry.step.node.domain in ("", "ai.onnx")
        and entry.keep
        and entry.step.inputs[0] in entry.frees
        and uses[entry.step.inputs[0]] == 1
    }
    return tuple(
        replaced(entry, rectified=behind.get(entry.step.outputs[0] or ""))
        if is_array_node(entry.step.node)
        else entry
        for entry in entries
    )


def execute(scheduled: Sequence[Scheduled], scope: Scope) -> None:
    """Run the steps, leaving the wanted values in ``scope.values``.

    Raises:
        ModelError: when a step fails, naming it.
    """
    values = scope.values
    rectifies = scope.array if isinstance(scope.array, RectifiesArrays) else None
    made: set[str] = set()
    for entry in scheduled:
        step = entry.step
        if entry.rectified is not None and rectifies is not None:
            found = rectifies.rectified(step.node, values[step.inputs[0] or ""])
            if found is not None:
                values[entry.rectified] = found
                made.add(entry.rectified)
                for name in entry.frees:
                    del values[name]
                continue
        if entry.keep and entry.keep[0] in made:  # with the layer before
            continue
        arguments = [None if name is None else values[name] for name in step.inputs]
        try:
            results = step.call(arguments, scope)
        except (PimcError, torch.OutOfMemoryError):
            raise
        except _OPERATOR_ERRORS as error:
            if step.foreign:
                raise
            raise _failure(step, arguments, error) from error
        if len(results) < len(entry.keep):
            raise _too_few(step, entry.keep[len(results) :])
        for name, result in zip(entry.keep, results, strict=False):
            if name is not None:
                values[name] = result
        del arguments, results
        for name in entry.frees:
            del values[name]


def execute_together(
    scheduled: Sequence[Scheduled], scopes: Sequence[Scope], array: JointCall
) -> None:
    """Run the steps on several scopes, which meet at every layer on the array.

    What lies between two layers runs for one scope after the other, so that only what goes into
    layers, and what is still needed behind them, is held for all.

    Raises:
        ModelError: when a step fails, naming it.
    """
    start = 0
    for place, entry in enumerate(scheduled):
        if not is_array_node(entry.step.node):
            continue
        for scope in scopes:
            execute(scheduled[start:place], scope)
        source = entry.step.inputs[0] or ""
        found = array(entry.step.node, [scope.values[source] for scope in scopes])
        for scope, y in zip(scopes, found, strict=True):
            scope.values.update((name, y) for name in entry.keep if name is not None)
            for name in entry.frees:
                del scope.values[name]
        del found
        start = place + 1
    for scope in scopes:
        execute(scheduled[start:], scope)


_OPERATOR_ERRORS = (RuntimeError, ValueError, IndexError, TypeError, OverflowError)


def _failure(step: Step, arguments: Sequence[Any], error: Exception) -> ModelError:
    shapes = ", ".join(
        str(list(value.shape)) if isinstance(value, torch.Tensor) else type(value).__name__
        for value in arguments
    )
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ModelError(
        f"operator {step.node.op_type} failed on inputs of shape {shapes}: {reason}",
        where=next((name for name in step.outputs if name), step.node.name),
        hint="check the input shapes against the model's",
    )


def _too_few(step: Step, missing: Sequence[str | None]) -> ModelError:
    return ModelError(
        f"operator {step.node.op_type} has no output {missing[-1]!r} in inference",
        where=missing[-1],
        hint="export the model for inference, without the outputs of training",
    )


def broken_between(
    steps: Iterable[Step], sources: Iterable[str], outputs: Iterable[str]
) -> list[ir.Node]:
    """Nodes without gradient on a path of values from a source to an output."""
    ordered = [(step, step.carries()) for step in steps]
    reached = set(sources)
    for step, carried in ordered:
        if not reached.isdisjoint(carried):
            reached.update(name for name in step.outputs if name is not None)
    found: list[list[ir.Node]] = []
    behind = set(outputs)
    for step, carried in reversed(ordered):
        if behind.isdisjoint(name for name in step.outputs if name is not None):
            continue
        behind |= carried
        if not reached.isdisjoint(carried):
            found.append(step.broken())
    return [node for nodes in reversed(found) for node in nodes]
