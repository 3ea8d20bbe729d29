"""Strict tables: what a dataclass says about its keys, a TOML table is held to.

Each field of a described dataclass carries a :class:`Key` in its metadata and the class may carry
``RULES`` for what holds between keys. One description serves the reader of files, Python callers
and the key tables in the documentation (:mod:`pimc.files.key_table`). All problems of a table are
found before any is reported. Objects of manifests are read by :mod:`pimc.files.manifest`.
"""

from __future__ import annotations

import difflib
import itertools
import math
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, Protocol

import numpy as np

from pimc.errors import PimcError

_INF = math.inf
_KEY = "pimc.key"

Kind = Literal["int", "float", "bool", "str", "floats", "ints", "strs", "rows", "table", "tables"]

_KIND_NAMES: Mapping[str, str] = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a string",
    "floats": "a list of numbers",
    "ints": "a list of whole numbers",
    "strs": "a list of strings",
    "rows": "a list of lists of numbers",
    "table": "a table",
    "tables": "tables by name",
}


class Named(Protocol):
    """How tables by name are read whose names and keys are not known beforehand."""

    def read(self, raw: Any, path: str) -> tuple[Any, list[str]]:
        """The value of what a file holds, or one read before; and all problems by dotted path."""
        ...

    def plain(self, value: Any) -> dict[str, Any]:
        """A value as it stands in a file."""
        ...


@dataclass(frozen=True)
class Key:
    """What one key may hold: kind, meaning, and bounds (both ends included unless ``above``)."""

    kind: Kind
    doc: str
    low: float = -_INF
    high: float = _INF
    above: float = -_INF
    choices: tuple[str, ...] = ()
    table: type | None = None
    named: Named | None = None


@dataclass(frozen=True)
class Rule:
    """What must hold between the keys of one table; ``ok`` sees them as attributes."""

    key: str
    ok: Callable[[Any], bool]
    text: str


def key(kind: Kind, doc: str, **options: Any) -> dict[str, Key]:
    """Field metadata for one described key; ``options`` are the fields of :class:`Key`."""
    return {_KEY: Key(kind, doc, **options)}


def setting(default: Any, kind: Kind, doc: str, **options: Any) -> Any:
    """A dataclass field with a default for one described key."""
    return field(default=default, metadata=key(kind, doc, **options))


def described(table: type) -> Iterator[tuple[Field[Any], Key]]:
    """The described fields of a dataclass, in order; fields without a key are skipped."""
    for item in fields(table):
        if _KEY in item.metadata:
            yield item, item.metadata[_KEY]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``" (did you mean …?)"`` for the nearest known word, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


def _is_int(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_float(value: object) -> bool:
    return _is_int(value) or isinstance(value, float | np.floating)


def _is_list(value: object, of: str) -> bool:
    return isinstance(value, list | tuple) and all(map(_KIND_TESTS[of], value))


_KIND_TESTS: Mapping[str, Callable[[Any], bool]] = {
    "int": _is_int,
    "float": _is_float,
    "bool": lambda value: isinstance(value, bool),
    "str": lambda value: isinstance(value, str),
    "floats": lambda value: _is_list(value, "float"),
    "ints": lambda value: _is_list(value, "int"),
    "strs": lambda value: _is_list(value, "str"),
    "rows": lambda value: _is_list(value, "floats"),
}
_KIND_CASTS: Mapping[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "floats": lambda value: tuple(float(item) for item in value),
    "ints": lambda value: tuple(int(item) for item in value),
    "strs": tuple,
    "rows": lambda value: tuple(tuple(float(item) for item in row) for row in value),
}


def allowed(item: Key) -> str:
    """The values a key takes, in words: ``a number, 0 to 1``."""
    if item.choices:
        return "one of " + ", ".join(item.choices)
    text = _KIND_NAMES[item.kind]
    if item.above > -_INF:
        text += f" above {item.above:.10g}"
    if item.low > -_INF and item.high < _INF:
        return f"{text}, {item.low:.10g} to {item.high:.10g}"
    if item.low > -_INF:
        return f"{text}, {item.low:.10g} or more"
    return f"{text}, at most {item.high:.10g}" if item.high < _INF else text


def _within(item: Key, value: Any) -> bool:
    if item.kind in ("str", "bool", "strs"):
        return not item.choices or value in item.choices
    numbers = value if isinstance(value, tuple) else (value,)
    if item.kind == "rows":
        numbers = tuple(itertools.chain(*value))
    return all(
        # NaN fails every comparison; infinity is refused even where there is no bound.
        abs(number) < _INF and item.low <= number <= item.high and number > item.above
        for number in numbers
    )


def check_value(item: Key, value: object) -> tuple[Any, str | None]:
    """The value as a plain Python one, and what is wrong with it (None when nothing is)."""
    if not _KIND_TESTS[item.kind](value):
        return None, f"must be {allowed(item)}, not {value!r}"
    try:
        plain = _KIND_CASTS[item.kind](value)
    except OverflowError:
        return None, f"must be {allowed(item)}, not a number as large as this"
    if not _within(item, plain):
        hint = did_you_mean(plain, item.choices) if item.choices else ""
        return None, f"must be {allowed(item)}, not {value!r}{hint}"
    return plain, None


def default_of(item: Field[Any]) -> Any:
    """A field's default; ``MISSING`` for a key that must be there."""
    if item.default is not MISSING:
        return item.default
    return item.default_factory() if item.default_factory is not MISSING else MISSING


def read_table(
    table: type, raw: Mapping[str, Any], prefix: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Check a raw table against a described dataclass.

    Args:
        table: the described dataclass; nested ones through keys of kind ``table``.
        raw: what the file (or the caller) holds.
        prefix: dotted path of the table, ending with a dot, for the messages.

    Returns:
        The values by field name (nested tables as instances), complete where there is no problem,
        and every problem found, each starting with its dotted path.
    """
    known = {item.name: (item, info) for item, info in described(table)}
    problems = [
        f"{prefix}{name}: unknown key{did_you_mean(str(name), known)}"
        for name in raw
        if name not in known
    ]
    values: dict[str, Any] = {}
    for name, (item, info) in known.items():
        path = f"{prefix}{name}"
        if name not in raw:
            values[name] = default_of(item)
            if values[name] is MISSING:
                problems.append(f"{path}: missing ({allowed(info)})")
            continue
        value = raw[name]
        if info.named is not None:
            values[name], found = info.named.read(value, path)
            problems += found
        elif info.table is None:
            values[name], problem = check_value(info, value)
            problems += [f"{path}: {problem}"] if problem else []
        elif not isinstance(value, Mapping):
            problems.append(f"{path}: must be a table, not {value!r}")
        else:
            inner, found = read_table(info.table, value, f"{path}.")
            problems += found
            values[name] = None if found else info.table(**inner)
    if not problems:
        problems = broken_rules(table, SimpleNamespace(**values), prefix)
    return values, problems


def broken_rules(table: type, values: object, prefix: str = "") -> list[str]:
    """The rules of a described dataclass that the values (attributes) do not keep."""
    rules: tuple[Rule, ...] = getattr(table, "RULES", ())
    return [f"{prefix}{rule.key}: {rule.text}" for rule in rules if not rule.ok(values)]


def settle(instance: Any) -> list[str]:
    """Make the values of a described dataclass plain, and return what is wrong with them.

    For ``__post_init__``, so that values given in Python meet the same rules.
    """
    problems = []
    for item, info in described(type(instance)):
        value = getattr(instance, item.name)
        if info.table is not None:
            if not isinstance(value, info.table):
                problems.append(f"{item.name}: must be {info.table.__name__}, not {value!r}")
        elif info.named is not None:
            plain, found = info.named.read(value, item.name)
            object.__setattr__(instance, item.name, plain)
            problems += found
        elif value is not item.default:
            plain, problem = check_value(info, value)
            object.__setattr__(instance, item.name, value if problem else plain)
            problems += [f"{item.name}: {problem}"] if problem else []
    return problems or broken_rules(type(instance), instance)


def plain_table(instance: Any) -> dict[str, Any]:
    """The described keys of an instance as plain types; what is not set is left out."""
    plain: dict[str, Any] = {}
    for item, info in described(type(instance)):
        value = getattr(instance, item.name)
        if value is None or value == ():
            continue
        if info.named is not None:
            plain[item.name] = info.named.plain(value)
        elif info.table is None:
            plain[item.name] = as_lists(value)
        elif inner := plain_table(value):
            plain[item.name] = inner
    return plain


def as_lists(value: Any) -> Any:
    """A value with lists in place of tuples, as in a file."""
    return [as_lists(item) for item in value] if isinstance(value, tuple) else value


def read_toml(path: Path, error: type[PimcError]) -> dict[str, Any]:
    """Parse a TOML file; raises ``error`` with file and line when that fails."""
    if path.exists() and not path.is_file():
        raise error("is no regular file", where=str(path))
    try:
        content = path.read_bytes()
    except OSError as cause:
        raise error(f"cannot be read: {cause.strerror or cause}", where=str(path)) from cause
    return parse_toml(content, str(path), error)


def parse_toml(content: bytes, where: str, error: type[PimcError]) -> dict[str, Any]:
    """Parse TOML bytes; raises ``error`` naming ``where`` and the line when that fails."""
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as cause:
        line = content.count(b"\n", 0, cause.start) + 1
        hint = "save the file as UTF-8"
        raise error(f"not UTF-8 text (line {line})", where=where, hint=hint) from cause
    except (ValueError, RecursionError) as cause:  # too long a number, too deep a nesting included
        hint = "see https://toml.io for the format"
        raise error(f"not valid TOML: {cause}", where=where, hint=hint) from cause
