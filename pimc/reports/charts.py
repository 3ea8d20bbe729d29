"""Axes, dots and bars of figures. An axis begins at zero, or says that it does not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pimc.reports.blocks import Bar, Dot, Scale

__all__ = ["bars_of", "dot", "scale_of"]

#: An axis begins at zero where the values take up at least this part of it.
_FROM_ZERO = 0.35
_TICKS = 5


def scale_of(values: Iterable[float], unit: str = "", top: float | None = None) -> Scale:
    """An axis on which values and intervals have room.

    Args:
        values: as they are shown.
        unit: of the labels.
        top: no value can be above.
    """
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if low >= 0 and (high - low) >= _FROM_ZERO * high:
        low = 0.0
    step = _step((high - low) or abs(high) or 1.0)
    begin = math.floor(low / step - 1e-9 + (0.0 if low == 0 else -0.25)) * step
    begin = max(begin, 0.0) if low >= 0 else begin
    end = math.ceil(high / step - 1e-9) * step
    end = end if top is None else min(end, top)
    end = end if end > begin else begin + step
    places = [begin + number * step for number in range(int((end - begin) / step + 1e-6) + 1)]
    ticks = [(round(100 * (at - begin) / (end - begin), 2), _label(at, step)) for at in places]
    ticks[-1] = (ticks[-1][0], f"{ticks[-1][1]} {unit}".strip())
    broken = f"The axis begins at {_label(begin, step)} {unit}".strip() if begin else ""
    return Scale(begin, end, ticks, f"{broken}, not at zero." if broken else "")


def dot(
    scale: Scale, series: int, value: float, ends: tuple[float | None, float | None], text: str
) -> Dot:
    """A value and its interval on an axis."""
    low, high = (
        None if end is None or not math.isfinite(end) else min(max(scale.at(end), 0.0), 100.0)
        for end in ends
    )
    return Dot(series, scale.at(value), low, high, text)


def bars_of(entries: Sequence[tuple[str, Sequence[float], str]]) -> list[Bar]:
    """Bars of labels, amounts of their parts, and texts."""
    longest = max((sum(parts) for _, parts, _ in entries), default=0.0) or 1.0
    return [
        Bar(label, [round(100 * part / longest, 2) for part in parts], text)
        for label, parts, text in entries
    ]


def _step(span: float) -> float:
    """A round distance of ticks: 1, 2 or 5 times a power of ten."""
    raw = span / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))


def _label(value: float, step: float) -> str:
    digits = max(0, -math.floor(math.log10(step)))
    return f"{value:,.{digits}f}"
