"""The zoo as tables: for a terminal and for the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pimc.tasks.find import task_named
from pimc.tasks.metric import Metric
from pimc.zoo.record import Measured, Network

__all__ = ["BRIEF", "HEADER", "brief", "markdown", "row"]

#: The columns of :func:`row`.
HEADER = (
    "network", "task", "metric", "float", "perfect cells", "as programmed", "recovered",
    "dies", "samples", "weights", "cells a weight", "arrays", "energy",
)  # fmt: skip
#: Those that fit a terminal, of :func:`brief`.
BRIEF = (
    "network", "task", "float", "perfect cells", "as programmed", "recovered", "dies", "samples",
)  # fmt: skip
_DASH = "–"
_JOULES = ((1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ"))


def row(network: Network, measured: Measured | None = None) -> tuple[str, ...]:
    """A network's figures as texts, under :data:`HEADER`; dashes where nothing was measured.

    Args:
        measured: what was measured now; what the record says if None.
    """
    found, task = measured or network.measured, task_named(network.task)
    metric = task.metric
    named = (network.name, task.name, _metric(metric))
    if found is None:
        return (*named, *[_DASH] * (len(HEADER) - len(named)))
    return (
        *named,
        metric.text(found.in_float),
        metric.text(found.perfect),
        _of_dies(found.programmed, metric),
        _of_dies(found.recovered, metric),
        str(len(found.dies)) if found.dies else _DASH,
        f"{found.samples:,}",
        f"{found.weights:,}",
        f"{found.cells_a_weight:.3g}",
        f"{found.arrays:,}",
        _energy(found.energy_pj),
    )


def brief(network: Network) -> tuple[str, ...]:
    """What the record says, under :data:`BRIEF`; of dies the means alone."""
    found = dict(zip(HEADER, row(network), strict=True))
    return tuple(found[name].partition(" (")[0] for name in BRIEF)


def markdown(networks: Iterable[Network]) -> str:
    """The tables of ``docs/zoo.md``: figures, then where networks and data come from."""
    known = list(networks)
    lines = [_line(HEADER), _line(["---"] * 3 + ["---:"] * (len(HEADER) - 3))]
    lines += [_line([f"`{name}`", *rest]) for name, *rest in map(row, known)]
    sources = ("network", "what it is", "inputs", "weights", "licence", "data", "again")
    lines += ["", _line(sources), _line(["---"] * len(sources))]
    lines += [
        _line([
            f"`{one.name}`", one.title, one.inputs, one.weights_from, one.licence, one.data_from,
            f"`pimc zoo run {one.name}`",
        ])
        for one in known
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _metric(metric: Metric) -> str:
    return metric.name if metric.higher_is_better else f"{metric.name}, lower is better"


def _of_dies(values: Sequence[float], metric: Metric) -> str:
    """Their mean, and between which figures they lie where there are several."""
    if not values:
        return _DASH
    text = metric.text(sum(values) / len(values))
    if len(values) == 1:
        return text
    return f"{text} ({metric.number(min(values))} to {metric.number(max(values))})"


def _energy(energy_pj: float | None) -> str:
    if energy_pj is None:
        return _DASH
    factor, unit = next((pair for pair in _JOULES if energy_pj >= pair[0]), _JOULES[-1])
    return f"{energy_pj / factor:.3g} {unit}"
