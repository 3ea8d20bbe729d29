"""RNN, GRU and LSTM, unrolled in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pimc.runtime.ops.registry import NotNative, op
from pimc.runtime.ops.tensors.index import reverse_sequence

Function = Callable[[Tensor], Tensor]
# (input part [B, gates·H], weights of one direction, states) → new states; the first is the output
Cell = Callable[[Tensor, "Direction", tuple[Tensor, ...]], tuple[Tensor, ...]]

_FUNCTIONS: dict[str, Function] = {
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Relu": torch.relu,
    "Softsign": torch.nn.functional.softsign,
}


@dataclass(frozen=True)
class Direction:
    """Weights of one direction; ``clip`` is applied before every activation.

    Args:
        recurrence: [gates·H, H].
        bias: recurrent bias [gates·H].
        peephole: [3·H] of an LSTM, zeros without.
        functions: the activations of this direction.
        clip: limit of the activations' inputs, None without.
    """

    recurrence: Tensor
    bias: Tensor
    peephole: Tensor
    functions: tuple[Function, ...]
    clip: float | None

    def apply(self, which: int, x: Tensor) -> Tensor:
        """Activation number ``which`` of clipped values."""
        limited = x if self.clip is None else x.clamp(-self.clip, self.clip)
        return self.functions[which](limited)


def _functions(names: Sequence[str] | None, default: Sequence[str], n: int) -> list[Function]:
    chosen = list(names or [*default] * n)
    if not set(chosen) <= _FUNCTIONS.keys():
        raise NotNative(f"activations {chosen}")
    return [_FUNCTIONS[name] for name in chosen]


def _unroll(
    cell: Cell,
    n_states: int,
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None,
    lengths: Tensor | None,
    states: Sequence[Tensor | None],
    peephole: Tensor | None,
    functions: Sequence[Function],
    direction: str,
    layout: int,
    clip: float | None,
) -> tuple[Tensor, ...]:
    """Outputs [T, directions, B, H] and the last states [directions, B, H] (layout 0)."""
    if layout:
        x = x.transpose(0, 1)
        states = [None if s is None else s.transpose(0, 1) for s in states]
    steps, batch = x.shape[:2]
    n, rows, hidden = recurrence.shape
    both = bias if bias is not None else x.new_zeros(n, 2 * rows)
    peeps = peephole if peephole is not None else x.new_zeros(n, 3 * hidden)
    backward = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    sizes = lengths if lengths is not None else torch.full((batch,), steps)
    sizes = sizes.to(x.device)
    per_direction = len(functions) // n
    outputs: list[Tensor] = []
    finals: list[tuple[Tensor, ...]] = []
    for d, back in enumerate(backward):
        flow = reverse_sequence(x, sizes) if back else x
        part = Direction(
            recurrence[d],
            both[d, rows:],
            peeps[d],
            tuple(functions[d * per_direction : (d + 1) * per_direction]),
            clip,
        )
        driven = flow @ weight[d].mT + both[d, :rows]
        state = tuple(x.new_zeros(batch, hidden) if s is None else s[d] for s in states)
        shown: list[Tensor] = []
        for t in range(steps):
            after = cell(driven[t], part, state)
            if lengths is not None:
                running = (t < sizes)[:, None]
                after = tuple(torch.where(running, a, b) for a, b in zip(after, state, strict=True))
                shown.append(torch.where(running, after[0], torch.zeros_like(after[0])))
            else:
                shown.append(after[0])
            state = after
        stacked = torch.stack(shown) if shown else x.new_zeros(0, batch, hidden)
        outputs.append(reverse_sequence(stacked, sizes) if back else stacked)
        finals.append(state)
    y = torch.stack(outputs, dim=1)
    last = [torch.stack([final[i] for final in finals]) for i in range(n_states)]
    if layout:
        return (y.permute(2, 0, 1, 3), *(s.transpose(0, 1) for s in last))
    return (y, *last)


def _rnn_cell(driven: Tensor, part: Direction, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (part.apply(0, driven + state[0] @ part.recurrence.mT + part.bias),)


def _lstm_cell(driven: Tensor, part: Direction, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    h, c = state
    i, o, f, g = (driven + h @ part.recurrence.mT + part.bias).chunk(4, dim=-1)
    p_i, p_o, p_f = part.peephole.chunk(3)
    new = part.apply(0, f + p_f * c) * c + part.apply(0, i + p_i * c) * part.apply(1, g)
    return part.apply(0, o + p_o * new) * part.functions[2](new), new


def _gru_cell(linear_before_reset: bool) -> Cell:
    def cell(driven: Tensor, part: Direction, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        h = state[0]
        n = 2 * h.shape[-1]
        gates = driven[:, :n] + h @ part.recurrence[:n].mT + part.bias[:n]
        update, reset = part.apply(0, gates).chunk(2, dim=-1)
        inner, bias = part.recurrence[n:].mT, part.bias[n:]
        if linear_before_reset:
            proposal = driven[:, n:] + reset * (h @ inner + bias)
        else:
            proposal = driven[:, n:] + (reset * h) @ inner + bias
        return ((1 - update) * part.apply(1, proposal) + update * h,)

    return cell


@op("RNN", since=7)
def rnn(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
    *,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> tuple[Tensor, ...]:
    """Plain recurrent layer."""
    functions = _functions(activations, ["Tanh"], w.shape[0])
    return _unroll(_rnn_cell, 1, x, w, r, b, lengths, [h], None, functions, direction, layout, clip)


@op("GRU", since=7)
def gru(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
    *,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Tensor, ...]:
    """Gated recurrent unit; gates in the order update, reset, hidden."""
    functions = _functions(activations, ["Sigmoid", "Tanh"], w.shape[0])
    cell = _gru_cell(bool(linear_before_reset))
    return _unroll(cell, 1, x, w, r, b, lengths, [h], None, functions, direction, layout, clip)


@op("LSTM", since=7)
def lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
    c: Tensor | None = None,
    p: Tensor | None = None,
    *,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> tuple[Tensor, ...]:
    """Long short-term memory; gates in the order input, output, forget, cell."""
    if input_forget:
        raise NotNative("coupled gates")
    functions = _functions(activations, ["Sigmoid", "Tanh", "Tanh"], w.shape[0])
    return _unroll(
        _lstm_cell, 2, x, w, r, b, lengths, [h, c], p, functions, direction, layout, clip
    )
