"""What a page says of a chip: every key of its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pimc.chip.design import Chip
from pimc.reports.blocks import Facts, Fold
from pimc.reports.numbers import plain

__all__ = ["chip_facts"]


def chip_facts(chip: Chip) -> Fold:
    """The keys of a chip file, to be opened."""
    rows = [("Fingerprint", chip.fingerprint), *_keys(chip.to_dict())]
    return Fold(blocks=[Facts(rows=rows, wide=True)], title=f"The chip: {chip.name}")


def _keys(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", plain(value)
