"""The key tables of the documentation, from the tables that files are held to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING

from pimc.files.strict import allowed, default_of, described

__all__ = ["key_table"]


def key_table(table: type, prefix: str = "") -> str:
    """The keys of a described dataclass as a Markdown table, nested tables flattened."""
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*rows, *_key_rows(table, prefix)]) + "\n"


def _key_rows(table: type, prefix: str) -> Iterator[str]:
    for item, info in described(table):
        if info.table is not None:
            yield from _key_rows(info.table, f"{prefix}{item.name}.")
            continue
        default = default_of(item)
        shown = "required" if default is MISSING else _default_text(default)
        yield f"| `{prefix}{item.name}` | {allowed(info)} | {shown} | {info.doc} |"


def _default_text(default: object) -> str:
    if default in (None, (), ""):
        return "–"
    text = str(list(default) if isinstance(default, tuple) else default)
    return f"`{text.lower() if isinstance(default, bool) else text}`"
