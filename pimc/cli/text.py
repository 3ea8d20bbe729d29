"""Text for people: tables that fit a screen, numbers with units."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pimc.reports.numbers import age_text, engineering, percent, percents

if TYPE_CHECKING:
    from pimc.data.dataset import Dataset

__all__ = [
    "age_text",
    "clipping_layers",
    "engineering",
    "facts",
    "percent",
    "percents",
    "room",
    "states_text",
    "table",
    "told_of_states",
]

#: Share of clipped conversions above which a layer is named, and how many are.
_CLIPPING, _NAMED = 1e-3, 4


def room(taken: int) -> int:
    """Lines of a screen that are left beside ``taken`` others, five at least."""
    return max(shutil.get_terminal_size((100, 40)).lines - taken, 5)


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    limit: int | None = None,
    total: int | None = None,
) -> str:
    """Columns under a header, numbers right.

    Of more rows than ``limit`` the rest are counted, not shown; ``total`` is their number where
    ``rows`` holds only the first.
    """
    total = len(rows) if total is None else total
    shown = rows if limit is None or total <= limit else rows[: max(limit - 1, 1)]
    cells = [list(header), *[[_cell(value) for value in row] for row in shown]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    right = [
        bool(shown) and all(isinstance(row[column], int | float) or row[column] is None
                            for row in shown)
        for column in range(len(header))
    ]  # fmt: skip
    lines = [
        "  ".join(
            text.rjust(width) if flush else text.ljust(width)
            for text, width, flush in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    ]
    if len(shown) < total:
        lines.append(f"… and {total - len(shown):,} more")
    return "\n".join(lines)


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values, one a line; entries without a value are left out."""
    given = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in given), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in given)


def clipping_layers(shares: Mapping[str, float]) -> str:
    """The layers whose converters clip most, where any clips noticeably; else nothing.

    Args:
        shares: by layer, the share of conversions whose current lay outside the ADC's range.
    """
    found = sorted((-share, layer) for layer, share in shares.items() if share > _CLIPPING)
    shown = "  ".join(f"{layer} {percent(-share)}" for share, layer in found[:_NAMED])
    more = len(found) - _NAMED
    return f"{shown}  and {more} more" if more > 0 else shown


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def told_of_states(data: Dataset) -> dict[str, Any]:
    """What JSON tells of states: which output feeds which input, and how many steps there are."""
    states = data.states
    return {
        "states": {} if states is None else dict(states.feeds),
        "steps": None if states is None else states.steps,
    }


def states_text(told: Mapping[str, Any]) -> str:
    """The same for people; nothing of networks without a state."""
    if not told.get("states"):
        return ""
    fed = [f"{name} ← {output}" for name, output in told["states"].items()]
    more = f" and {len(fed) - 3} more" * (len(fed) > 3)
    steps = f", {told['steps']:,} steps" if told["steps"] else ", one step"
    return ", ".join(fed[:3]) + more + steps
