"""Numbers as people read them: shares in per cent, quantities with a prefix, times."""

from __future__ import annotations

__all__ = ["age_text", "engineering", "percent", "percents", "plain"]

_PREFIXES = (
    (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""),
    (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"),
)  # fmt: skip
#: Spans of time, the longest first.
_SPANS = ((31_557_600.0, "y"), (86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))


def percent(value: float | None, digits: int = 2) -> str:
    """A share as per cent; a dash where it is not known."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def percents(low: float | None, high: float | None) -> str:
    """The ends of an interval of shares: ``52.20 to 93.68 %``; a dash where there is none."""
    return "–" if low is None or high is None else f"{100 * low:.2f} to {percent(high)}"


def engineering(value: float | None, unit: str) -> str:
    """A quantity with a prefix, three digits: ``12.3 µJ``."""
    if value is None:
        return "not known"
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor * 0.9995:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def age_text(seconds: float) -> str:
    """A time in the longest span that it holds: ``3.17 y``."""
    for length, name in _SPANS:
        if seconds >= length:
            return f"{seconds / length:.3g} {name}"
    return f"{seconds:.3g} s"


def plain(value: object) -> str:
    """Any value of a table: a dash where there is none."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(plain(one) for one in value) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
