"""Rows in a CSV or Parquet file, and in the journal beside it while the file grows."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from pimc.chip.grid import Value, as_text, parse_value
from pimc.errors import UsageError
from pimc.files.strict import Key, check_value
from pimc.files.writing.atomic import replacing
from pimc.files.writing.journal import appending, entries_of

__all__ = ["Row", "RowFile", "journal_of", "recording", "require_suffix"]

#: Values by column.
Row: TypeAlias = Mapping[str, Any]

#: How a file ends that is none: the reading, CSV's, JSON's, Parquet's.
_MALFORMED = (
    OSError, ValueError, TypeError, AttributeError, LookupError, NotImplementedError, MemoryError,
    csv.Error,
)  # fmt: skip
_TYPES: Mapping[str, type] = {
    "bool": bool, "float": float, "int": int, "str": str, "floats": list,
}  # fmt: skip


@dataclass(frozen=True)
class RowFile:
    """What a kind of table holds.

    Attributes:
        what: whose table it is: ``a sweep``.
        hint: what to do where a file is another one.
        keys: the columns that are described, and what they hold.
        filled: those of numbers that every row fills; others may be empty.
        missing: names that columns lack to be such a table.
        key_of: what tells rows apart; of several the last counts.
        free: further columns are parameters, which hold any single value.
    """

    what: str
    hint: str
    keys: Mapping[str, Key] = field(repr=False)
    filled: Collection[str]
    missing: Callable[[Collection[str]], Collection[str]] = field(repr=False)
    key_of: Callable[[Row], object] = field(repr=False)
    free: bool = False

    def read(self, path: Path) -> list[Row]:
        """The rows of a file and of the journal beside it; none where there is neither.

        Raises:
            UsageError: the file is another one, or the journal is damaged; the column is named
                that holds what it cannot.
        """
        stored: list[Row] = []
        try:
            if path.exists():
                stored += _FORMATS[path.suffix][0](self, path)
            journal = journal_of(path)
            if journal.exists():
                noted = entries_of(journal)
                for row in noted:
                    self._check_columns(row.keys())
                stored += noted
        except _MALFORMED as cause:
            message = f"is not the file of {self.what}"
            raise UsageError(message, where=str(path), hint=self.hint) from cause
        rows = [self._checked(row, f"{path}, row {n}") for n, row in enumerate(stored, 1)]
        return list({self.key_of(row): row for row in rows}.values())

    def write(self, path: Path, names: Sequence[str], rows: Sequence[Row]) -> None:
        """Write all rows, whole or not at all; the journal has done its duty.

        Args:
            names: of the columns, in their order.

        Raises:
            UsageError: the file cannot be written.
        """
        content = _FORMATS[path.suffix][1](self, names, rows)
        with replacing(path) as stream:
            stream.write(content)
        journal_of(path).unlink(missing_ok=True)

    def type_of(self, name: str) -> type | None:
        """The Python type of a column's values; None of a parameter."""
        return _TYPES[self.keys[name].kind] if name in self.keys else None

    def _checked(self, row: Row, where: str) -> Row:
        """The row with plain values.

        Raises:
            UsageError: a column holds what it cannot.
        """
        values: dict[str, Any] = {}
        for name, value in row.items():
            found, problem = value, None
            if name not in self.keys:
                problem = None if _is_parameter(value) else f"must be one value, not {value!r}"
            elif value is not None or self.keys[name].kind == "str" or name in self.filled:
                found, problem = check_value(self.keys[name], value)
            if problem is not None:
                raise UsageError(f"{name}: {problem}", where=where, hint=self.hint)
            values[name] = list(found) if isinstance(found, tuple) else found
        return values

    def _check_columns(self, names: Collection[str]) -> None:
        missing = self.missing(names)
        if missing:
            raise ValueError(f"columns are missing: {', '.join(sorted(missing))}")
        foreign = [] if self.free else [name for name in names if name not in self.keys]
        if foreign:
            raise ValueError(f"columns of something else: {', '.join(map(str, foreign))}")

    def _read_csv(self, path: Path) -> list[Row]:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream, strict=True)
            self._check_columns(reader.fieldnames or ())
            return [{n: self._from_text(n, text) for n, text in row.items()} for row in reader]

    def _csv_bytes(self, names: Sequence[str], rows: Sequence[Row]) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_to_text(row.get(name)) for name in names] for row in rows)
        return text.getvalue().encode()

    def _from_text(self, name: str, text: str) -> Any:
        kind = self.type_of(name)
        if kind is list:
            return [parse_value(part) for part in text.split()]
        if kind is str:
            return text
        # What is no number is for the check of the column to tell.
        return None if text == "" else parse_value(text)

    def _read_parquet(self, path: Path) -> list[Row]:
        parquet = _parquet()
        from pyarrow.lib import ArrowException

        try:
            table = parquet.read_table(path)
            self._check_columns(table.column_names)
            rows: list[dict[str, Any]] = table.to_pylist()
        except ArrowException as cause:
            raise ValueError("not a table") from cause
        # A column of several kinds of values is stored as text.
        return [
            {
                n: parse_value(v) if n not in self.keys and isinstance(v, str) else v
                for n, v in row.items()
            }
            for row in rows
        ]

    def _parquet_bytes(self, names: Sequence[str], rows: Sequence[Row]) -> bytes:
        import pyarrow as pa

        kinds: Mapping[type, Any] = {
            bool: pa.bool_(), float: pa.float64(), int: pa.int64(), str: pa.string(),
            list: pa.list_(pa.float64()),
        }  # fmt: skip
        columns = {}
        for name in names:
            values, kind = [row.get(name) for row in rows], self.type_of(name)
            columns[name] = pa.array(_of_one_kind(values)) if kind is None else pa.array(
                values, kinds[kind]
            )  # fmt: skip
        stream = io.BytesIO()
        _parquet().write_table(pa.table(columns), stream)
        return stream.getvalue()


def require_suffix(path: Path) -> None:
    """Make sure that a file's name says what it is, and that it can be written.

    Raises:
        UsageError: it says neither CSV nor Parquet, or Parquet without pyarrow.
    """
    if path.suffix not in _FORMATS:
        raise UsageError(
            "is neither .csv nor .parquet", where=str(path), hint=f"for example {path.stem}.csv"
        )
    if path.suffix == ".parquet":
        _parquet()


@contextmanager
def recording(path: Path) -> Iterator[Callable[[Row], None]]:
    """Gives the function that notes a row in the journal of a file, safely on the disk.

    Raises:
        UsageError: the journal cannot be written.
    """
    journal = journal_of(path)
    with appending(journal, resume=True) as note:
        try:
            yield note
        finally:
            if journal.stat().st_size == 0:
                journal.unlink()


def journal_of(path: Path) -> Path:
    """The journal of a file."""
    return path.with_name(f"{path.name}.journal")


def _is_parameter(value: object) -> bool:
    finite = not isinstance(value, float) or math.isfinite(value)
    return value is None or (isinstance(value, bool | int | float | str) and finite)


def _to_text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else as_text(value)


def _of_one_kind(values: Sequence[Value | None]) -> list[Value | None]:
    """The values as they are, all as floats, or all as text."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1:
        return list(values)
    kind = float if kinds == {int, float} else as_text
    return [None if value is None else kind(value) for value in values]


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as cause:
        raise UsageError(
            "Parquet needs the package pyarrow", hint="pip install 'pimc[parquet]', or use .csv"
        ) from cause
    return pyarrow.parquet


_FORMATS: Mapping[
    str,
    tuple[
        Callable[[RowFile, Path], list[Row]],
        Callable[[RowFile, Sequence[str], Sequence[Row]], bytes],
    ],
] = {
    ".csv": (RowFile._read_csv, RowFile._csv_bytes),
    ".parquet": (RowFile._read_parquet, RowFile._parquet_bytes),
}
