"""The table ``[physics]`` of a chip file: terms of a laboratory's own, by kind and name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pimc.chip.plugins.foreign import Foreign
from pimc.chip.plugins.terms import (
    KINDS,
    CheckedCell,
    CheckedConverter,
    CheckedRead,
    CheckedTime,
    Term,
    Values,
    class_of,
)
from pimc.chip.section import Section
from pimc.errors import ChipError
from pimc.files.strict import Key, as_lists, key, read_table

__all__ = ["Physics"]

#: Parameters by name of the term.
Tables = tuple[tuple[str, Values], ...]


@dataclass(frozen=True)
class _Installed:
    """Tables by name, each held to the class that is installed under it."""

    kind: str

    def read(self, raw: Any, path: str) -> tuple[Tables, list[str]]:
        """The parameters of every term, defaults filled in, by name; and all problems."""
        if isinstance(raw, tuple):  # read before
            raw = self.plain(raw)
        if not isinstance(raw, Mapping):
            return (), [f"{path}: must be tables by name, not {raw!r}"]
        found: list[tuple[str, Values]] = []
        problems: list[str] = []
        for name in sorted(raw):
            values, wrong = self._term(str(name), raw[name], f"{path}.{name}")
            found.append((str(name), values))
            problems += wrong
        return tuple(found), problems

    def _term(self, name: str, raw: Any, path: str) -> tuple[Values, list[str]]:
        if not isinstance(raw, Mapping):
            return (), [f"{path}: must be a table, not {raw!r}"]
        try:
            kind = class_of(Foreign(self.kind, name), path)
        except ChipError as error:
            hint = f" ({error.hint})" if error.hint else ""
            return (), [f"{path}: {error.message}{hint}"]
        values, problems = read_table(kind, raw, f"{path}.")
        return tuple(values.items()), problems

    def plain(self, value: Tables) -> dict[str, Any]:
        """Tables as in the file."""
        return {
            name: {key: as_lists(v) for key, v in values if v is not None and v != ()}
            for name, values in value
        }


def _tables(kind: str) -> dict[str, Key]:
    doc = f"terms of a laboratory's own: a table `physics.{kind}.NAME` each"
    return key("tables", doc, named=_Installed(kind))


@dataclass(frozen=True)
class Physics(Section):
    """Terms of a laboratory's own, each with its parameters; none in most chips."""

    cell: Tables = field(default=(), metadata=_tables("cell"))
    time: Tables = field(default=(), metadata=_tables("time"))
    read: Tables = field(default=(), metadata=_tables("read"))
    converter: Tables = field(default=(), metadata=_tables("converter"))

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """All terms, by kind and name.

        Raises:
            ChipError: one cannot be made.
        """
        return tuple(
            made(Foreign(kind, name), values)
            for kind, made in KINDS.items()
            for name, values in getattr(self, kind)
        )

    @cached_property
    def of_cells(self) -> tuple[CheckedCell, ...]:
        """Terms in what a written cell holds."""
        return tuple(term for term in self.terms if isinstance(term, CheckedCell))

    @cached_property
    def of_time(self) -> tuple[CheckedTime, ...]:
        """Terms in what time does to it."""
        return tuple(term for term in self.terms if isinstance(term, CheckedTime))

    @cached_property
    def of_reads(self) -> tuple[CheckedRead, ...]:
        """Terms in the noise of reads."""
        return tuple(term for term in self.terms if isinstance(term, CheckedRead))

    @cached_property
    def of_converters(self) -> tuple[CheckedConverter, ...]:
        """Terms in the errors of converters."""
        return tuple(term for term in self.terms if isinstance(term, CheckedConverter))

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.terms  # told now, not at the first read
