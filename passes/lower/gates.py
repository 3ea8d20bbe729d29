"""One step of an LSTM, a GRU or an RNN: its gates and its states, in ONNX's definitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from pimc.passes.graph.constants import Array
from pimc.passes.lower.emitter import Emitter

__all__ = ["GATES", "STEPS", "Activation", "RecurrentCell", "gate_activations"]

#: Gates a cell of each operator has.
GATES: Mapping[str, int] = {"LSTM": 4, "GRU": 3, "RNN": 1}
#: Activations each operator has where none are stated.
_ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}
#: Activations, and the value of each parameter that one takes where none is stated.
_PARAMETERS: Mapping[str, Mapping[str, float]] = {
    "Sigmoid": {},
    "Tanh": {},
    "Relu": {},
    "Softsign": {},
    "Softplus": {},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "LeakyRelu": {"alpha": 0.01},
    "ThresholdedRelu": {"alpha": 1.0},
    "Elu": {"alpha": 1.0},
    "ScaledTanh": {"alpha": 1.0, "beta": 1.0},
    "Affine": {"alpha": 1.0, "beta": 0.0},
}


@dataclass(frozen=True)
class Activation:
    """An activation of a gate: an operator, or α tanh(βx) (ScaledTanh), or αx + β (Affine).

    Attributes:
        parameters: by name, as the operator takes them.
    """

    name: str
    parameters: Mapping[str, float]

    def __call__(self, emit: Emitter, value: ir.Value, dtype: np.dtype) -> ir.Value:
        """What it makes of ``value``, whose elements are of ``dtype``."""
        if self.name not in ("ScaledTanh", "Affine"):
            attributes: dict[str, Any] = dict(self.parameters)
            return emit.op(self.name, value, **attributes)
        alpha, beta = (emit.constant(np.asarray(v, dtype)) for v in self.parameters.values())
        if self.name == "Affine":
            return emit.op("Add", emit.op("Mul", alpha, value), beta)
        return emit.op("Mul", alpha, emit.op("Tanh", emit.op("Mul", beta, value)))


@dataclass(frozen=True)
class RecurrentCell:
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
    act: tuple[Activation, ...]
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
        name = self.name + part
        key = ("state", name, first, last)
        weight = emit.once(key, lambda: emit.weight(self.state[rows].T, name))
        y = emit.op("MatMul", h, weight)
        bias = self.state_bias[rows]
        return emit.op("Add", y, emit.constant(bias)) if bias.any() else y

    def gate(self, emit: Emitter, act: Activation, value: ir.Value) -> ir.Value:
        """An activation of what goes into a gate."""
        if self.clip is not None:
            ends = (np.asarray(end, self.state.dtype) for end in (-self.clip, self.clip))
            value = emit.op("Clip", value, *map(emit.constant, ends))
        return act(emit, value, self.state.dtype)

    def seen(self, emit: Emitter, value: ir.Value, c: ir.Value, number: int) -> ir.Value:
        """What goes into gate i, o or f, with what it sees of the cell's state."""
        if self.peepholes is None:
            return value
        weight = self.peepholes[number * self.hidden :][: self.hidden]
        return emit.op("Add", value, emit.op("Mul", c, emit.constant(weight)))

    def split(self, emit: Emitter, gates: ir.Value, count: int) -> Sequence[ir.Value]:
        """The gates' values apart."""
        sizes = emit.integers([self.hidden] * count)
        return emit.ops("Split", gates, sizes, outputs=count, axis=-1)


#: From the inputs' share of the gates and the states before to the states after.
_Step = Callable[[Emitter, RecurrentCell, ir.Value, Sequence[ir.Value]], Sequence[ir.Value]]


def _lstm(
    emit: Emitter, cell: RecurrentCell, gates: ir.Value, states: Sequence[ir.Value]
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
    return [emit.op("Mul", shown, out(emit, c, cell.state.dtype)), c]


def _gru(
    emit: Emitter, cell: RecurrentCell, gates: ir.Value, states: Sequence[ir.Value]
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
    emit: Emitter, cell: RecurrentCell, gates: ir.Value, states: Sequence[ir.Value]
) -> Sequence[ir.Value]:
    (h,) = states
    total = emit.op("Add", gates, cell.product(emit, h, 0, 1))
    return [cell.gate(emit, cell.act[0], total)]


STEPS: Mapping[str, _Step] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}


def gate_activations(node: ir.Node, directions: int) -> list[tuple[Activation, ...]] | None:
    """Those of each direction; None where one is not known."""
    default = _ACTIVATIONS[node.op_type]
    stated = node.attributes.get("activations")
    names = list(default) * directions if stated is None else list(stated.as_strings())
    known = {name.lower(): name for name in _PARAMETERS}
    if len(names) != len(default) * directions or any(n.lower() not in known for n in names):
        return None
    # Each activation that takes a parameter takes the next of those that are stated.
    given = {
        key: iter(() if found is None else found.as_floats())
        for key in ("alpha", "beta")
        for found in [node.attributes.get(f"activation_{key}")]
    }
    each = [
        Activation(
            known[name.lower()],
            {key: next(given[key], own) for key, own in _PARAMETERS[known[name.lower()]].items()},
        )
        for name in names
    ]
    return [tuple(each[k : k + len(default)]) for k in range(0, len(each), len(default))]
