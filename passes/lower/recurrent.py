"""LSTM, GRU and RNN: the products with inputs and states on the array, the rest in a Scan.

ONNX's definitions of the three operators, with their default activations. The inputs of all
steps are multiplied at once; the product with the state stands in the body of the Scan, so
that its cells are read once a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from pimc.passes.constants import Array, constant_array, constant_tensor
from pimc.passes.lower.emitter import Emitter

__all__ = ["GATES", "lower_recurrent"]

#: Gates a cell of each operator has.
GATES: Mapping[str, int] = {"LSTM": 4, "GRU": 3, "RNN": 1}
#: Activations each operator has where none are stated.
_ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}
#: Activations that are operators of one input and no parameter.
_PLAIN = frozenset({"Sigmoid", "Tanh", "Relu", "Softsign", "Softplus"})


@dataclass(frozen=True)
class _Cell:
    """One direction of a recurrent layer.

    Attributes:
        state: (gates · hidden, hidden) weights of the state.
        state_bias: (gates · hidden,) what is added to their product and cannot be added to the
            inputs' beforehand.
        hidden: size of the state.
        act: activations.
        name: of the state's weights.
        after: a GRU's reset gate comes after the product.
        peepholes: (3 · hidden,) what an LSTM's gates i, o and f see of the cell's state.
        clip: limit of what goes into the gates' activations.
        coupled: an LSTM forgets as much as it takes in.
    """

    state: Array
    state_bias: Array
    hidden: int
    act: tuple[str, ...]
    name: str
    after: bool
    peepholes: Array | None = None
    clip: float | None = None
    coupled: bool = False

    def product(
        self, emit: Emitter, h: ir.Value, first: int, last: int, part: str = ""
    ) -> ir.Value:
        """``h`` times the weights of the gates from ``first`` to before ``last``."""
        rows = slice(first * self.hidden, last * self.hidden)
        matrix = np.ascontiguousarray(self.state[rows].T)
        y = emit.op("MatMul", h, emit.weight(matrix, self.name + part))
        bias = self.state_bias[rows]
        return emit.op("Add", y, emit.constant(bias)) if bias.any() else y

    def gate(self, emit: Emitter, act: str, value: ir.Value) -> ir.Value:
        """An activation of what goes into a gate."""
        if self.clip is not None:
            ends = (np.asarray(end, self.state.dtype) for end in (-self.clip, self.clip))
            value = emit.op("Clip", value, *map(emit.constant, ends))
        return emit.op(act, value)

    def seen(self, emit: Emitter, value: ir.Value, c: ir.Value, number: int) -> ir.Value:
        """What goes into gate i, o or f, with what it sees of the cell's state."""
        if self.peepholes is None:
            return value
        weight = self.peepholes[number * self.hidden :][: self.hidden]
        return emit.op("Add", value, emit.op("Mul", c, emit.constant(weight)))

    def split(self, emit: Emitter, gates: ir.Value, count: int) -> Sequence[ir.Value]:
        """The gates' values apart."""
        sizes = emit.integers([self.hidden] * count)
        first = emit.op("Split", gates, sizes, outputs=count, axis=-1)
        producer = first.producer()
        return [first] if producer is None else producer.outputs


#: From the inputs' share of the gates and the states before to the states after.
_Step = Callable[[Emitter, _Cell, ir.Value, Sequence[ir.Value]], Sequence[ir.Value]]


def _lstm(
    emit: Emitter, cell: _Cell, gates: ir.Value, states: Sequence[ir.Value]
) -> Sequence[ir.Value]:
    h, c = states
    gate, squash, out = cell.act
    total = emit.op("Add", gates, cell.product(emit, h, 0, 4))
    i, o, f, new = cell.split(emit, total, 4)
    taken = cell.gate(emit, gate, cell.seen(emit, i, c, 0))
    if cell.coupled:
        forgotten = emit.op("Sub", emit.constant(np.ones((), cell.state.dtype)), taken)
    else:
        forgotten = cell.gate(emit, gate, cell.seen(emit, f, c, 2))
    kept = emit.op("Mul", forgotten, c)
    c = emit.op("Add", kept, emit.op("Mul", taken, cell.gate(emit, squash, new)))
    shown = cell.gate(emit, gate, cell.seen(emit, o, c, 1))
    return [emit.op("Mul", shown, emit.op(out, c)), c]


def _gru(
    emit: Emitter, cell: _Cell, gates: ir.Value, states: Sequence[ir.Value]
) -> Sequence[ir.Value]:
    (h,) = states
    gate, squash = cell.act
    z, r, new = cell.split(emit, gates, 3)
    if cell.after:
        from_z, from_r, from_new = cell.split(emit, cell.product(emit, h, 0, 3), 3)
        r = cell.gate(emit, gate, emit.op("Add", r, from_r))
        from_new = emit.op("Mul", r, from_new)
    else:
        from_z, from_r = cell.split(emit, cell.product(emit, h, 0, 2, "/zr"), 2)
        r = cell.gate(emit, gate, emit.op("Add", r, from_r))
        from_new = cell.product(emit, emit.op("Mul", r, h), 2, 3, "/h")
    z = cell.gate(emit, gate, emit.op("Add", z, from_z))
    new = cell.gate(emit, squash, emit.op("Add", new, from_new))
    # (1 − z)·new + z·h
    return [emit.op("Add", new, emit.op("Mul", z, emit.op("Sub", h, new)))]


def _rnn(
    emit: Emitter, cell: _Cell, gates: ir.Value, states: Sequence[ir.Value]
) -> Sequence[ir.Value]:
    (h,) = states
    total = emit.op("Add", gates, cell.product(emit, h, 0, 1))
    return [cell.gate(emit, cell.act[0], total)]


_STEPS: Mapping[str, _Step] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}


def activations(node: ir.Node, directions: int) -> list[tuple[str, ...]] | None:
    """Those of each direction; None where one has parameters or is not known."""
    default = _ACTIVATIONS[node.op_type]
    stated = node.attributes.get("activations")
    names = list(default) * directions if stated is None else list(stated.as_strings())
    known = {name.lower(): name for name in _PLAIN}
    if len(names) != len(default) * directions or any(n.lower() not in known for n in names):
        return None
    named = [known[name.lower()] for name in names]
    return [tuple(named[k : k + len(default)]) for k in range(0, len(named), len(default))]


def plain(node: ir.Node) -> bool:
    """Whether it has no sequence lengths, and no peepholes that are not constant."""
    lengths, peepholes = (node.inputs[k] if len(node.inputs) > k else None for k in (4, 7))
    return lengths is None and (peepholes is None or constant_tensor(peepholes) is not None)


def lower_recurrent(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """One Scan a direction, or None where the node does what :mod:`array_rules` rules out."""
    inputs = [*node.inputs, *[None] * (8 - len(node.inputs))]
    x, w, r, b, _, h0, c0, p = inputs
    weight, state = constant_array(w), constant_array(r)
    if weight is None or state is None or not plain(node):
        return None
    gates, directions = GATES[node.op_type], weight.shape[0]
    hidden = state.shape[2]
    bias = np.zeros((directions, 2 * gates * hidden), weight.dtype)
    if b is not None:
        known = constant_array(b)
        if known is None:
            return None
        bias = known
    acts = activations(node, directions)
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
    starts = [_start(emit, h0, batch_first), _start(emit, c0, batch_first)]
    starts = starts[: 2 if node.op_type == "LSTM" else 1]
    found: list[Sequence[ir.Value]] = []
    for number in range(directions):
        suffix = f"/{('forward', 'reverse')[number]}" if directions > 1 else ""
        ahead, behind = np.split(bias[number], 2)
        early, late = _biases(node.op_type, ahead, behind, hidden, after)
        cell = _Cell(
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
        product = emit.op(
            "MatMul",
            x,
            emit.weight(np.ascontiguousarray(weight[number].T), f"{w.name}{suffix}"),
        )
        driven = emit.op("Add", product, emit.constant(early))
        first = [_first(emit, start, number, x, hidden, weight.dtype) for start in starts]
        back = way == "reverse" or number == 1
        found.append(_scan(emit, node.op_type, cell, driven, first, back))
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


def _start(emit: Emitter, value: ir.Value | None, batch_first: bool) -> ir.Value | None:
    """Initial states (directions, batch, hidden)."""
    if value is None or not batch_first:
        return value
    return emit.op("Transpose", value, perm=[1, 0, 2])


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
    cell: _Cell,
    driven: ir.Value,
    first: Sequence[ir.Value],
    back: bool,
) -> Sequence[ir.Value]:
    """The steps; returns the last states and the first state of every step."""
    inner = emit.inner()
    states = [ir.Value(name=inner.name("state")) for _ in first]
    gates = ir.Value(name=inner.name("gates"))
    after = list(_STEPS[op](inner, cell, gates, states))
    body = ir.Graph(
        [*states, gates],
        [*after, inner.op("Identity", after[0])],
        nodes=inner.nodes,
        name=inner.name("body"),
    )
    last = emit.op(
        "Scan",
        *first,
        driven,
        outputs=len(first) + 1,
        body=body,
        num_scan_inputs=1,
        scan_input_directions=[int(back)],
        scan_output_directions=[int(back)],
    )
    producer = last.producer()
    return [last] if producer is None else producer.outputs


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
