"""Chapters of what commands told: ``pimc eval --json``, and comparisons of strategies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from pimc.reports.blocks import Block, Cell, Dot, Dots, Facts, Part, Table
from pimc.reports.chapters.figures import before_and_after, metric_of, named
from pimc.reports.charts import dot, scale_of
from pimc.reports.numbers import percent, plain
from pimc.tasks.metric import Metric

__all__ = ["part_of_comparison", "part_of_eval"]

#: Rows that are drawn one by one, and that a table lists.
_MOST_DRAWN, _MOST_ROWS = 200, 2_000


def part_of_eval(told: Mapping[str, Any], name: str) -> Part:
    """What ``pimc eval --json`` told, with what costs what where ``--explain`` was asked for."""
    metric = metric_of(told)
    key = metric.key
    low, high = told.get(f"{key}_interval_95") or (None, None)
    facts = Facts(
        rows=[
            (f"Mean {metric.name}", f"{metric.text(told[f'{key}_mean'])} "
             f"(95 % interval {metric.texts(low, high)})"),
            ("Float network", metric.text(told.get(f"float_{key}"))),
            ("Dies", plain(told.get("dies"))),
            ("Samples a die", plain(told.get("samples"))),
        ]
    )  # fmt: skip
    return Part("evaluation", name, [facts], [*_by_die(told, metric), *_explained(told, metric)])


def _by_die(told: Mapping[str, Any], metric: Metric) -> list[Block]:
    values = told.get(f"{metric.key}_per_die") or []
    seeds = told.get("dies")
    names = seeds if isinstance(seeds, list) else range(1, len(values) + 1)
    dies = [(str(name), value, None) for name, value in zip(names, values, strict=False)]
    in_float = told.get(f"float_{metric.key}")
    drawn = before_and_after(dies, metric, told.get("samples"), in_float, None)
    if drawn is None:
        return []
    title = f"{named(metric)} by die"
    return [Dots(scale=drawn.scale, rows=drawn.rows, legend=(), lines=drawn.lines, title=title,
                 note=drawn.note)]  # fmt: skip


def _explained(told: Mapping[str, Any], metric: Metric) -> list[Block]:
    found = told.get("explain")
    if not found:
        return []
    scale = metric.scale
    unit = "points" if metric.unit == "%" else metric.unit
    elements = found["elements"]
    ends = [end for one in elements for end in one["switched_off"]["interval_95"]]
    means = [one["switched_off"]["mean"] for one in elements]
    axis = scale_of([0.0, *(scale * x for x in (*means, *ends) if x is not None)], unit)
    drawn: list[tuple[str, list[Dot]]] = []
    for one in sorted(elements, key=lambda one: -float(one["switched_off"]["mean"])):
        cost = one["switched_off"]
        low, high = (None if end is None else scale * end for end in cost["interval_95"])
        text = f"{_signed(scale * cost['mean'], 2)} {unit}".strip()
        if low is not None and high is not None:
            text += f" ({_signed(low, 2)} to {_signed(high, 2)})"
        drawn.append((one["name"], [dot(axis, 1, scale * cost["mean"], (low, high), text)]))
    costs = Dots(
        scale=axis,
        rows=drawn,
        legend=(),
        lines=[(axis.at(0.0), "nothing is won")],
        title="What costs what",
        note=f"What is won when an element of the chip is switched off. Lines: 95 % interval of "
        f"the paired differences over dies and samples; {found['dies']:,} dies, "
        f"{found['samples']:,} samples.",
    )
    rows = [
        [
            Cell(layer["name"], layer["name"]),
            *(
                Cell("–" if layer[key] is None else f"{_signed(layer[key], 1)} dB", layer[key])
                for key in (
                    "snr_db",
                    "own_snr_db",
                    "cells_snr_db",
                    "read_noise_snr_db",
                    "adc_snr_db",
                )
            ),
            Cell(percent(layer["clipped"]), layer["clipped"]),
        ]
        for layer in found["layers"][:_MOST_ROWS]
    ]
    table = Table(
        columns=("Layer", "Network", "Own", "Cells", "Read noise", "ADC", "Clipped"),
        rows=rows,
        caption="Signal-to-noise ratio of each layer",
        title="Signal to noise by layer",
        note=f"{found['snr_samples']:,} samples. Network: in a run of the die; own: with the "
        "right inputs, in three parts; clipped: currents outside the ADC's range.",
    )
    return [costs, table]


def _signed(value: float, digits: int) -> str:
    """A number that may be negative, with a minus sign; none before zero."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def part_of_comparison(told: Mapping[str, Any], name: str) -> Part:
    """What ``pimc recover --compare`` found: strategies on the same dies."""
    metric = metric_of(told["outcomes"][0])
    key = metric.key
    outcomes = told["outcomes"]
    names = list(dict.fromkeys(outcome["strategy"] for outcome in outcomes))
    rows = []
    for strategy in names:
        mine = [outcome for outcome in outcomes if outcome["strategy"] == strategy]
        figures = [outcome[f"{key}_after"] for outcome in mine]
        known = [value for value in figures if value is not None]
        cells = [outcome["cells_rewritten"] for outcome in mine]
        loss = [outcome["loss"] for outcome in mine]
        rows.append(
            [
                Cell(strategy, strategy),
                Cell(f"{len(mine):,}", len(mine)),
                _mean(known, metric),
                Cell(f"{mean(loss):.4g}", mean(loss)),
                Cell(f"{mean(cells):,.0f}", mean(cells)),
                Cell(
                    f"{mean(o['seconds'] for o in mine):,.0f} s", mean(o["seconds"] for o in mine)
                ),
            ]
        )
    table = Table(
        columns=(
            "Strategy", "Dies", f"{metric.name} after", "Held-out loss", "Cells rewritten", "Time",
        ),
        rows=rows,
        caption="Strategies, means over the same dies",
        title="Strategies",
    )  # fmt: skip
    in_float, samples = told.get(f"float_{key}"), told.get("samples")
    facts = Facts(
        rows=[
            ("Float network", metric.text(in_float)),
            ("Perfect cells, read as the chip reads", metric.text(told.get(f"floor_{key}"))),
            ("Dies", plain(told.get("dies"))),
            ("Samples a die", plain(samples)),
            ("Cells", plain(told.get("cells_total"))),
        ]
    )
    dies = [
        (f"{o['strategy']}, die {o['seed']}", o[f"{key}_before"], o[f"{key}_after"])
        for o in outcomes[:_MOST_DRAWN]
    ]
    drawn = before_and_after(dies, metric, samples, in_float, told.get(f"quantized_{key}"))
    return Part("comparison", name, [facts, table], [] if drawn is None else [drawn])


def _mean(values: Sequence[float], metric: Metric) -> Cell:
    return Cell(metric.text(mean(values)), mean(values)) if values else Cell("–")
