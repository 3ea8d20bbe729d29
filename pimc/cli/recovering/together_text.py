"""What ``pimc recover`` of several dies tells people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pimc.cli.recovering.figures import basis_lines
from pimc.cli.text import facts, percent, percents, room, table

if TYPE_CHECKING:
    from pimc.functions.recover_dies import RecoveredDies
    from pimc.tasks.metric import Metric

__all__ = ["text_of"]

#: What kept dies from more is told of so many reasons.
_REASONS = 5


def text_of(
    data: Mapping[str, Any],
    found: RecoveredDies,
    entries: Sequence[Mapping[str, Any]],
    min_yield: float | None,
    metric: Metric,
) -> str:
    """The dies, those that failed first, and what they say together.

    Args:
        data: what the JSON tells.
        entries: of the dies in it.
    """
    summary, failed = data["summary"], len(found.failed)
    better = "" if metric.key == "accuracy" else f"{metric.name}, {metric.direction} is better"
    whys = Counter(why for entry in entries for why in entry.get("verdict", {}).get("why", ()))
    hints = Counter(hint for entry in entries for hint in entry.get("verdict", {}).get("hints", ()))
    told = [("why", f"{_dies(n)}: {why}") for why, n in whys.most_common(_REASONS)]
    told += [("would help", f"{_dies(n)}: {hint}") for hint, n in hints.most_common(_REASONS)]
    basis = next((list(basis_lines(e["basis"])) for e in entries if "basis" in e), [])
    pairs = [
        ("metric", better),
        ("float", metric.text(found.float_metric)),
        ("quantized", metric.text(found.perfect_metric)),
        ("dies", f"{len(found.rows)} ({found.recovered} recovered now, {failed} failed)"),
        *_spreads(summary, metric),
        *_within_text(summary["within"], min_yield, metric),
        *told,
        ("took", f"{data['took_seconds']:.0f} s, recoveries added up {data['seconds']:.0f} s"),
        ("written", ", ".join([data["table"], *data["pictures"]])),
    ]
    total = data["cells_total"]
    rows = [
        [
            row["die"] or row["source"],
            metric.text(row[f"{metric.key}_before"]),
            metric.text(row[f"{metric.key}_after"]),
            _rewritten(row["cells_rewritten"], total),
            f"failed: {row['error']}" if row["error"] else row["output"],
        ]
        for row in sorted(found.rows, key=lambda row: not row["error"])
    ]
    shown = table(
        ["die", "before", "after", "cells rewritten", "next image"],
        rows,
        limit=room(len(pairs) + len(basis) + 3),
    )
    return "\n".join([f"{shown}\n", facts(pairs), *basis])


def _dies(count: int) -> str:
    return f"{count} die{'s' * (count != 1)}"


def _rewritten(cells: int | None, total: int) -> str:
    return "–" if cells is None else f"{cells:,} ({percent(cells / max(total, 1), 1)})"


def _spreads(summary: Mapping[str, Any], metric: Metric) -> list[tuple[str, str]]:
    """Means over the dies, with their 95 % intervals."""
    found = summary["metric"]
    if found is None:
        loss = summary["loss"]
        if loss is None:
            return []
        return [
            (f"held-out loss {when}", f"{loss[when]['mean']:.4f} ± {loss[when]['std']:.4f}")
            for when in ("before", "after")
        ]
    lines = [
        (
            when,
            f"{metric.text(found[when]['mean'])} ± {metric.text(found[when]['std'])} over dies"
            f" (95 % interval {metric.texts(*found[when]['interval_95'])}), lowest "
            f"{metric.text(found[when]['lowest'])}, highest {metric.text(found[when]['highest'])}",
        )
        for when in ("before", "after")
    ]
    won, low_high = found["gained"]["mean"], found["gained"]["interval_95"]
    return [*lines, ("gained", f"{metric.number(won)} ({metric.texts(*low_high)})")]


def _within_text(
    within: Mapping[str, Any] | None, min_yield: float | None, metric: Metric
) -> list[tuple[str, str]]:
    """How many dies are within the target, before and after."""
    from pimc.studies.recoveries.summary import reached

    if within is None:
        return []
    parts = [
        f"{when} {one['dies']} of {one['of']} ({percent(one['share'], 1)}, 95 % interval "
        f"{percents(*one['interval_95'])})"
        for when, one in ((when, within[when]) for when in ("before", "after"))
    ]
    lines = [("target", f"{metric.text(within['target'])}: {'; '.join(parts)}")]
    if min_yield is not None:
        told = "reached" if reached(within, min_yield) else "NOT reached"
        lines.append(("yield", f"{min_yield:g} % asked for, {told}"))
    return lines
