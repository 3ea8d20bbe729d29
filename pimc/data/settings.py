"""``data.toml``: how the values of each input are prepared, and what the classes are called."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pimc.data.kinds.coco import Boxes
from pimc.data.kinds.sequences import Sequences
from pimc.data.kinds.sound import Audio
from pimc.data.kinds.tokens import Text
from pimc.data.layout import Preprocess
from pimc.errors import DataError
from pimc.files.strict import did_you_mean, read_table, read_toml

__all__ = ["Settings", "read_settings"]

_HINT = "the keys are in docs/data.md"
#: Tables about kinds of data.
_TABLES: Mapping[str, type] = {
    "audio": Audio,
    "boxes": Boxes,
    "sequences": Sequences,
    "text": Text,
}


@dataclass(frozen=True)
class Settings:
    """What ``data.toml`` and the options say.

    Attributes:
        common: what is said of the only input.
        inputs: what is said of an input by its name.
        classes: names of the classes in the order of their numbers.
        states: of a network with a state, the output that feeds an input, by the input's name.
        stated: the keys that ``common`` states.
        tables: what is said of kinds of data, by the name of the table.
        path, where: the file, and where what is ``stated`` was said; for messages.
    """

    common: Preprocess = field(default_factory=Preprocess)
    inputs: Mapping[str, Preprocess] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    stated: tuple[str, ...] = ()
    path: str = "data.toml"
    where: str = "data.toml"
    tables: Mapping[str, Any] = field(default_factory=dict)

    def of(self, names: Collection[str]) -> dict[str, Preprocess]:
        """How the values of each of these inputs are prepared.

        Raises:
            DataError: there is a table for an input that the network does not have, or keys that
                do not say which of several inputs they mean.
        """
        for name in self.inputs:
            if name not in names:
                message = f"inputs.{name}: the network has no such input{did_you_mean(name, names)}"
                raise DataError(message, self.path, f"its inputs are {', '.join(names)}")
        if len(names) > 1 and self.stated:
            first = next(iter(names))
            raise DataError(
                f"{', '.join(self.stated)}: which of the inputs {', '.join(names)} is meant is not "
                "said",
                self.where,
                f"put it in a table of data.toml: [inputs.{first}]",
            )
        return {name: self.inputs.get(name, self.common) for name in names}


def read_settings(path: Path, overrides: Mapping[str, object]) -> Settings:
    """The settings of a ``data.toml``, where there is one, with options that come before it.

    Args:
        overrides: keys of the only input that take precedence; None values are skipped. ``states``
            are added to those of the file.

    Raises:
        DataError: a malformed file, or an unknown key or value.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    raw = read_toml(path, DataError) if path.exists() else {}
    from_file = _states(raw.pop("states", {}), str(path))
    states = {**from_file, **_states(given.pop("states", {}), "options")}
    classes, tables = raw.pop("classes", []), raw.pop("inputs", {})
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise DataError(f"classes: must be a list of strings, not {classes!r}", str(path), _HINT)
    if not isinstance(tables, Mapping) or not all(
        isinstance(table, Mapping) for table in tables.values()
    ):
        raise DataError("inputs: must be tables, [inputs.NAME]", str(path), _HINT)
    kinds = {name: _kind(name, raw.pop(name), str(path)) for name in _TABLES if name in raw}
    inputs = {
        name: Preprocess(**_values(table, str(path), f"inputs.{name}."))
        for name, table in tables.items()
    }
    stored, from_options = _values(raw, str(path)), _values(given, "options")
    if len(inputs) == 1:  # of one input, options mean the table that describes it
        inputs = {name: replace(how, **from_options) for name, how in inputs.items()}
    common = Preprocess(**stored | from_options)
    stated = tuple(stored | from_options)
    where = str(path if raw else "options")
    return Settings(common, inputs, tuple(classes), states, stated, str(path), where, kinds)


def _kind(name: str, raw: object, where: str) -> Any:
    """What a table says of a kind of data."""
    if not isinstance(raw, Mapping):
        raise DataError(f"{name}: must be a table, [{name}]", where, _HINT)
    values, problems = read_table(_TABLES[name], raw, f"{name}.")
    if problems:
        raise DataError("; ".join(problems), where, _HINT)
    return _TABLES[name](**values)


def _states(table: object, where: str) -> Mapping[str, str]:
    if not isinstance(table, Mapping) or not all(isinstance(one, str) for one in table.values()):
        hint = 'write [states] and, a line an input, input = "output"'
        raise DataError("states: must be a table of names of outputs by inputs", where, hint)
    return table


def _values(raw: Mapping[str, Any], where: str, prefix: str = "") -> dict[str, Any]:
    """Those keys of a table that it states, checked."""
    listed = {
        name: [value] if name in ("mean", "std") and np.isscalar(value) else value
        for name, value in raw.items()
    }
    values, problems = read_table(Preprocess, listed, prefix)
    if problems:
        raise DataError("; ".join(problems), where=where, hint=_HINT)
    return {name: values[name] for name in raw}
