"""Objects of a manifest, held to a described dataclass.

The descriptions are those of TOML tables (:mod:`pimc.files.strict`); the manners are those of a
format that grows. Keys that are not known are ignored, as a newer pimc may have added them. A key
may hold ``null`` where the type of its field says so, and may be left out where its field has a
default. So a new key is a new field, with a default where older files lack it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field
from typing import Any

from pimc.errors import PimcError
from pimc.files.strict import Key, broken_rules, check_value, default_of, described

__all__ = ["may_be_null", "read_key", "read_object"]


def read_object(
    record: type, entry: object, where: str, error: type[PimcError], hint: str | None = None
) -> dict[str, Any]:
    """The described fields of an object; objects inside are records of theirs.

    Raises:
        error: it is no object, or a key is missing or malformed; all of them are named.
    """
    values, problems = _fields(record, entry)
    if problems:
        raise error("; ".join(problems), where, hint)
    return values


def read_key(
    record: type, name: str, entry: Mapping[str, Any], where: str, error: type[PimcError],
    hint: str | None = None,
) -> Any:  # fmt: skip
    """One described field of an object.

    Raises:
        error: the key is missing or malformed.
    """
    item, info = next(found for found in described(record) if found[0].name == name)
    value, problems = _value(item, info, entry, name)
    if problems:
        raise error("; ".join(problems), where, hint)
    return value


def may_be_null(item: Field[Any]) -> bool:
    """Whether the key of a field may hold ``null``."""
    return "None" in str(item.type)


def _fields(record: type, entry: object, prefix: str = "") -> tuple[dict[str, Any], list[str]]:
    if not isinstance(entry, Mapping):
        return {}, [f"{prefix.removesuffix('.')}: ".lstrip(": ") + _no_object(entry)]
    values: dict[str, Any] = {}
    problems: list[str] = []
    for item, info in described(record):
        values[item.name], found = _value(item, info, entry, f"{prefix}{item.name}")
        problems += found
    if not problems:
        problems = broken_rules(record, _Attributes(values), prefix)
    return values, problems


def _value(
    item: Field[Any], info: Key, entry: Mapping[str, Any], path: str
) -> tuple[Any, list[str]]:
    """The value of a key, and what is wrong with it."""
    if item.name not in entry:
        default = default_of(item)
        return default, [f"{path}: missing"] if default is MISSING else []
    value = entry[item.name]
    if value is None and may_be_null(item):
        return None, []
    return _OF_KIND.get(info.kind, _plain)(info, value, path)


def _plain(info: Key, value: object, path: str) -> tuple[Any, list[str]]:
    found, problem = check_value(info, value)
    return found, [f"{path}: {problem}"] if problem else []


def _object(info: Key, value: object, path: str) -> tuple[Any, list[str]]:
    """An object: a record where one is described, else whatever it holds."""
    if info.table is None or not isinstance(value, Mapping):
        return value, [] if isinstance(value, Mapping) else [f"{path}: {_no_object(value)}"]
    values, problems = _fields(info.table, value, f"{path}.")
    return None if problems else info.table(**values), problems


def _objects(info: Key, value: object, path: str) -> tuple[Any, list[str]]:
    """A list of objects; what each holds is for its reader to say."""
    whole = isinstance(value, list) and all(isinstance(each, Mapping) for each in value)
    return value, [] if whole else [f"{path}: must be a list of objects"]


def _no_object(value: object) -> str:
    return f"must be an object, not {value!r}"


_OF_KIND = {"table": _object, "tables": _objects}


class _Attributes:
    """Values as attributes, for the rules of a record."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)
