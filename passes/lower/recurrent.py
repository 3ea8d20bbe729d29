"""LSTM, GRU and RNN: the products with inputs and states on the array, the rest in a Scan.

The inputs of all steps are multiplied at once; the product with the state stands in the body of
the Scan, so that its cells are read once a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import onnx_ir as ir

from pimc.passes.graph.constants import Array, constant_array, constant_tensor
from pimc.passes.lower.emitter import Emitter
from pimc.passes.lower.gates import GATES, STEPS, RecurrentCell, gate_activations
from pimc.passes.lower.needs import weight_shape

__all__ = ["constant_peepholes", "known_activations", "lower_recurrent"]


def constant_peepholes(node: ir.Node) -> bool:
    """Peepholes are constants.

    export without them, or unroll the recurrence into MatMul
    """
    peepholes = node.inputs[7] if len(node.inputs) > 7 else None
    return peepholes is None or constant_tensor(peepholes) is not None


def known_activations(node: ir.Node) -> bool:
    """Its activations have no parameters: Sigmoid, Tanh, Relu, Softsign or Softplus.

    use other activations, or unroll the recurrence into MatMul
    """
    shape = weight_shape(node)
    return bool(shape) and gate_activations(node, shape[0]) is not None


def lower_recurrent(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """One Scan a direction, or None where its constraints do not hold."""
    inputs = [*node.inputs, *[None] * (8 - len(node.inputs))]
    x, w, r, b, lengths, h0, c0, p = inputs
    weight, state = constant_array(w), constant_array(r)
    if weight is None or state is None or not constant_peepholes(node):
        return None
    gates, directions = GATES[node.op_type], weight.shape[0]
    hidden = state.shape[2]
    bias = np.zeros((directions, 2 * gates * hidden), weight.dtype)
    if b is not None:
        known = constant_array(b)
        if known is None:
            return None
        bias = known
    acts = gate_activations(node, directions)
    if acts is None or x is None or w is None or r is None:
        return None
    after = bool(node.attributes.get_int("linear_before_reset", 0))
    batch_first = bool(node.attributes.get_int("layout", 0))
    way = node.attributes.get_string("direction", "forward")
    clip = node.attributes.get_float("clip", 0.0) if "clip" in node.attributes else None
    coupled = bool(node.attributes.get_int("input_forget", 0))
    peepholes = constant_array(p)
    if batch_first:
        x = emit.op("Transpose", x, perm=[1, 0, 2])
    alive = None if lengths is None else _alive(emit, x, lengths)
    starts = [_start(emit, value, batch_first, alive, weight.dtype) for value in (h0, c0)]
    starts = starts[: 2 if node.op_type == "LSTM" else 1]
    found: list[Sequence[ir.Value]] = []
    for number in range(directions):
        suffix = f"/{('forward', 'reverse')[number]}" if directions > 1 else ""
        ahead, behind = np.split(bias[number], 2)
        early, late = _biases(node.op_type, ahead, behind, hidden, after)
        cell = RecurrentCell(
            state[number],
            late,
            hidden,
            acts[number],
            f"{r.name}{suffix}",
            after,
            None if peepholes is None else peepholes[number],
            clip,
            coupled,
        )
        taken_in = emit.once(
            ("inputs", w, number), partial(emit.weight, weight[number].T, f"{w.name}{suffix}")
        )
        product = emit.op("MatMul", x, taken_in)
        driven = emit.op("Add", product, emit.constant(early))
        first = [_first(emit, start, number, x, hidden, weight.dtype) for start in starts]
        back = way == "reverse" or number == 1
        stepped = [driven] if alive is None else [driven, alive]
        found.append(_scan(emit, node.op_type, cell, stepped, first, back))
    return _joined(emit, found, batch_first)


def _biases(op: str, ahead: Array, behind: Array, hidden: int, after: bool) -> tuple[Array, Array]:
    """What is added to the inputs' product, and to the state's.

    All can be added beforehand, but for that of a GRU's new state behind its reset gate.
    """
    early, late = ahead + behind, np.zeros_like(behind)
    if op == "GRU" and after:
        early[2 * hidden :] = ahead[2 * hidden :]
        late[2 * hidden :] = behind[2 * hidden :]
    return early, late


def _alive(emit: Emitter, x: ir.Value, lengths: ir.Value) -> ir.Value:
    """(steps, batch, 1) whether a sequence of the batch reaches so far."""
    steps = emit.op("Slice", emit.op("Shape", x), emit.integers([0]), emit.integers([1]))
    step = emit.op("Range", emit.index(0), emit.op("Squeeze", steps), emit.index(1))
    step = emit.op("Unsqueeze", step, emit.integers([1, 2]))
    count = emit.op("Cast", lengths, to=ir.DataType.INT64.value)
    return emit.op("Less", step, emit.op("Unsqueeze", count, emit.integers([0, 2])))


def _start(
    emit: Emitter,
    value: ir.Value | None,
    batch_first: bool,
    alive: ir.Value | None,
    dtype: np.dtype,
) -> ir.Value | None:
    """Initial states (directions, batch, hidden)."""
    if value is None:
        return None
    if batch_first:
        value = emit.op("Transpose", value, perm=[1, 0, 2])
    if alive is not None:
        # ONNX Runtime gives zeros for an empty sequence, not its initial states.
        some = emit.op("Gather", alive, emit.index(0))
        value = emit.op("Where", some, value, emit.constant(np.zeros((), dtype)))
    return value


def _first(
    emit: Emitter, start: ir.Value | None, number: int, x: ir.Value, hidden: int, dtype: np.dtype
) -> ir.Value:
    """Initial state (batch, hidden) of one direction; zeros where none is given."""
    if start is not None:
        return emit.op("Gather", start, emit.index(number), axis=0)
    batch = emit.op("Slice", emit.op("Shape", x), emit.integers([1]), emit.integers([2]))
    shape = emit.op("Concat", batch, emit.integers([hidden]), axis=0)
    zero = ir.tensor(np.zeros(1, dtype))
    return emit.op("ConstantOfShape", shape, value=zero)


def _scan(
    emit: Emitter,
    op: str,
    cell: RecurrentCell,
    inputs: Sequence[ir.Value],
    first: Sequence[ir.Value],
    back: bool,
) -> Sequence[ir.Value]:
    """The steps; returns the last states and the first state of every step.

    Args:
        inputs: the inputs' share of the gates, and where sequences have lengths which of them
            are not yet over: those that are keep their states, and give zeros.
    """
    inner = emit.inner()
    states = [ir.Value(name=inner.name("state")) for _ in first]
    gates, *alive = (ir.Value(name=inner.name("step")) for _ in inputs)
    after = list(STEPS[op](inner, cell, gates, states))
    shown = after[0]
    if alive:
        nothing = inner.constant(np.zeros((), cell.state.dtype))
        shown = inner.op("Where", alive[0], shown, nothing)
        after = [
            inner.op("Where", alive[0], new, old) for new, old in zip(after, states, strict=True)
        ]
    body = ir.Graph(
        [*states, gates, *alive],
        [*after, inner.op("Identity", shown)],
        nodes=inner.nodes,
        name=inner.name("body"),
    )
    return emit.ops(
        "Scan",
        *first,
        *inputs,
        outputs=len(first) + 1,
        body=body,
        num_scan_inputs=len(inputs),
        scan_input_directions=[int(back)] * len(inputs),
        scan_output_directions=[int(back)],
    )


def _joined(
    emit: Emitter, found: Sequence[Sequence[ir.Value]], batch_first: bool
) -> list[ir.Value | None]:
    """The directions side by side: outputs of all steps, then the last states."""
    every = _stacked(emit, [values[-1] for values in found], axis=1)
    last = [_stacked(emit, list(states), axis=0) for states in zip(*found, strict=True)][:-1]
    if batch_first:
        every = emit.op("Transpose", every, perm=[2, 0, 1, 3])
        last = [emit.op("Transpose", value, perm=[1, 0, 2]) for value in last]
    return [every, *last]


def _stacked(emit: Emitter, values: Sequence[ir.Value], axis: int) -> ir.Value:
    apart = [emit.op("Unsqueeze", value, emit.integers([axis])) for value in values]
    return apart[0] if len(apart) == 1 else emit.op("Concat", *apart, axis=axis)
