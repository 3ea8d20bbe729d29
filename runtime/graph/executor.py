"""The one executor: an ONNX graph run node by node in torch.

Inference, GPU and gradients share this code path. A node goes to the first that
knows it: the table of torch functions (``pimc.runtime.ops``), the function body
that ONNX's schema carries, ONNX Runtime (without gradients).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from pimc.errors import ModelError
from pimc.plan.records import bodies, is_array_node
from pimc.runtime.graph.native import Setting
from pimc.runtime.graph.resolve import build
from pimc.runtime.graph.steps import (
    ArrayCall,
    JointCall,
    Plan,
    Scheduled,
    Scope,
    broken_between,
    execute,
    execute_together,
    schedule,
)
from pimc.runtime.ops.values import float_or, from_numpy

__all__ = ["ArrayCall", "Executor", "JointCall"]

#: Types of inputs that are numbers of something: tokens, places.
_WHOLE = {ir.DataType.INT32: torch.int32, ir.DataType.INT64: torch.int64}


class Executor:
    """Runs an ONNX model.

    Args:
        model: the model; it is read once, later changes to it are not seen.
        array: computes the nodes ``pimc.Array``: (node, input) → output.
        device: where the model computes.
        dtype: the type that stands for float32 everywhere in the model; with
            ``torch.float64`` a run is reproducible to the last float32 bit on any machine.

    Raises:
        ModelError: for an operator that nobody knows.
    """

    def __init__(
        self,
        model: ir.Model,
        *,
        array: ArrayCall | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._array = array
        self._device = torch.device(device)
        self._whole = {
            value.name or "": _WHOLE[value.dtype]
            for value in model.graph.inputs
            if value.dtype in _WHOLE
        }
        self._dtype = dtype
        functions = {(f.domain, f.name, f.overload): f for f in model.functions.values()}
        setting = Setting(self._device, dtype, dict(model.graph.opset_imports), functions)
        self._plan = build(model.graph, setting)
        _check_order(self._plan)
        self._made = {o: s.node for s in self._plan.steps for o in s.outputs if o is not None}
        self._around = {
            value.name: step.uses
            for step in self._plan.steps
            for body in bodies(step.node)
            for node in body.all_nodes()
            for value in node.outputs
        }
        self._schedules: dict[tuple[frozenset[str], tuple[str, ...]], tuple[Scheduled, ...]] = {}

    @property
    def input_names(self) -> tuple[str, ...]:
        """Graph inputs that have no initializer."""
        return tuple(n for n in self._plan.inputs if n not in self._plan.constants)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Graph outputs."""
        return self._plan.outputs

    def run(
        self,
        inputs: Mapping[str, torch.Tensor],
        *,
        want: Sequence[str] | None = None,
        array: ArrayCall | None = None,
    ) -> dict[str, torch.Tensor]:
        """Values by name.

        Args:
            inputs: the graph's inputs; whole numbers may come as floats, which data files give.
                An initializer or intermediate value may be given
                too: it replaces the model's own, and what only led to it is not computed.
            want: names of the values to return (default: the graph's outputs).
            array: replaces the constructor's.

        Raises:
            ModelError: for names the model does not have, a missing input, or a node that fails.
        """
        wanted = self._plan.outputs if want is None else tuple(want)
        entries = self._schedule(frozenset(inputs), wanted)
        values = self._values(inputs)
        execute(entries, Scope(values, array or self._array))
        return {name: values[name] for name in wanted}

    @property
    def layers_in_bodies(self) -> bool:
        """Whether a layer on the array lies in a body of control flow."""
        return any(
            is_array_node(node)
            for step in self._plan.steps
            for body in bodies(step.node)
            for node in body.all_nodes()
        )

    def run_together(self, parts: Sequence[Mapping[str, torch.Tensor]], array: JointCall) -> None:
        """Run the graph to its outputs for several parts of the samples, layer by layer together.

        Args:
            parts: the graph's inputs for some samples, then for others.
            array: computes a node ``pimc.Array`` for all parts; in a body of control flow for one
                part at a time.

        Raises:
            ModelError: as of :meth:`run`.
        """
        entries = self._schedule(frozenset(parts[0]), self._plan.outputs)
        scopes = [Scope(self._values(part), lambda node, x: array(node, [x])[0]) for part in parts]
        execute_together(entries, scopes, array)

    def _values(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """What is known before the first step: constants and inputs, of the types they have."""
        values = dict(self._plan.constants)
        values.update({name: self._prepared(value) for name, value in inputs.items()})
        for name in self._whole.keys() & inputs.keys():
            if isinstance(values[name], torch.Tensor) and values[name].is_floating_point():
                values[name] = values[name].to(self._whole[name])
        return values

    def known_at(self, value: str, inputs: Iterable[str], want: Sequence[str]) -> tuple[str, ...]:
        """Names of the values that are there once ``value`` is made, and needed for ``want``.

        A run that is given these goes on from there.

        Raises:
            ModelError: for a name the model does not have.
        """
        self._check_known((value,))
        given = frozenset(inputs)
        entries = self._schedule(given, tuple(want))
        end = next((n for n, e in enumerate(entries, 1) if value in e.step.outputs), 0)
        made = given | {name for entry in entries[:end] for name in entry.keep if name is not None}
        later = {name for entry in entries[end:] for name in entry.step.uses}
        return tuple(sorted(made & (later | set(want))))

    def gradient_breaks(
        self, sources: Iterable[str], outputs: Iterable[str] | None = None
    ) -> list[ir.Node]:
        """Nodes on a path from a source to an output at which a gradient ends.

        These are the nodes that ONNX Runtime executes (a backward pass that reaches one
        raises) and those that round, cast to integers or quantise (their gradient is zero
        everywhere, or there is none). Indices, shapes and comparisons carry no gradient by
        nature and are not listed, nor is what is only used as such.

        Args:
            sources: names of the values to be trained; for one in a body of control flow stands
                whatever goes into the node around it.
            outputs: names of the values a loss is taken of (default: the graph's outputs).

        Raises:
            ModelError: for a name the model does not have.
        """
        starts = tuple(
            name for source in sources for name in sorted(self._around.get(source, {source}))
        )
        ends = self._plan.outputs if outputs is None else tuple(outputs)
        self._check_known((*starts, *ends))
        return broken_between(self._plan.steps, starts, ends)

    def _prepared(self, value: Any) -> Any:
        if isinstance(value, (np.ndarray, np.generic)):
            value = from_numpy(np.asarray(value))
        if isinstance(value, list):
            return [self._prepared(entry) for entry in value]
        if not isinstance(value, torch.Tensor):
            return value
        return value.to(self._device, float_or(value.dtype, self._dtype))

    def _schedule(self, given: frozenset[str], wanted: tuple[str, ...]) -> tuple[Scheduled, ...]:
        key = (given, wanted)
        found = self._schedules.get(key)
        if found is None:
            self._check_known((*given, *wanted))
            known = given | self._plan.constants.keys()
            found = schedule(self._plan.steps, wanted, known)
            self._check_inputs(found, wanted, known)
            self._schedules[key] = found
        return found

    def _check_inputs(
        self, entries: Sequence[Scheduled], wanted: Iterable[str], known: Iterable[str]
    ) -> None:
        have = set(known)
        made = {name for entry in entries for name in entry.keep if name is not None}
        used = {name for entry in entries for name in entry.step.uses} | set(wanted)
        missing = sorted(used - made - have)
        if missing:
            raise ModelError(
                f"no value was given for {', '.join(map(repr, missing))}",
                where="inputs",
                hint=f"the model's inputs are {', '.join(map(repr, self.input_names))}",
            )

    def _check_known(self, names: Iterable[str]) -> None:
        plan = self._plan
        unknown = sorted(set(names) - set(plan.inputs) - plan.constants.keys() - self._made.keys())
        if unknown:
            raise ModelError(
                f"the model has no value named {', '.join(map(repr, unknown))}",
                where="names",
                hint=f"inputs are {', '.join(map(repr, self.input_names))}, "
                f"outputs are {', '.join(map(repr, plan.outputs))}",
            )


def _check_order(plan: Plan) -> None:
    known = {*plan.inputs, *plan.constants}
    for step in plan.steps:
        missing = sorted(step.uses - known)
        if missing:
            raise ModelError(
                f"nothing before operator {step.node.op_type} makes its input {missing[0]!r}",
                where=next((name for name in step.outputs if name), step.node.op_type),
                hint="sort the graph's nodes, or declare the value as an input",
            )
        known.update(name for name in step.outputs if name is not None)
    lost = sorted(set(plan.outputs) - known)
    if lost:
        raise ModelError(
            f"no node makes the graph output {lost[0]!r}",
            where=lost[0],
            hint="remove the output, or add the node that makes it",
        )
