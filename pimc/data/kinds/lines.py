"""JSON lines: an object a line, and the numbers in it as values and targets of samples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.data.kinds.sequences import KeptItems, filled
from pimc.data.rows import Rows
from pimc.errors import DataError

__all__ = ["LABEL", "Line", "at", "items_of", "numbers", "objects", "target_rows", "targets_in"]

#: Bytes of a line: a whole book has less.
LONGEST = 64 << 20
#: The key of class numbers, as tasks call them.
LABEL = "y"
#: What targets are filled up with where samples have fewer.
_NONE = -1

Line = tuple[int, Mapping[str, Any]]


def at(path: Path, number: int) -> str:
    """The place of a line, for messages."""
    return f"{path}, line {number}"


def objects(path: Path) -> Iterator[Line]:
    """The objects of a file with the numbers of their lines, from 1; empty lines are skipped.

    Raises:
        DataError: the file cannot be read, or a line holds no object.
    """
    try:
        with path.open("rb") as stream:
            number = 0
            while content := stream.readline(LONGEST + 1):
                number += 1
                if len(content) > LONGEST:
                    raise DataError(
                        f"is longer than {LONGEST >> 20} MiB", at(path, number), "make it shorter"
                    )
                if content.strip():
                    yield number, _object(content, at(path, number))
    except OSError as cause:
        raise DataError(f"cannot be read: {cause.strerror or cause}", str(path)) from cause


def _object(content: bytes, where: str) -> Mapping[str, Any]:
    hint = 'give an object a line: {"text": "…", "label": 1}'
    try:
        found = json.loads(content)
    except RecursionError as cause:
        raise DataError("is nested too deeply", where, hint) from cause
    except ValueError as cause:  # UnicodeDecodeError and too long a number included
        raise DataError(f"is no JSON: {cause}", where, hint) from cause
    if not isinstance(found, dict):
        raise DataError(f"is {type(found).__name__}, no object", where, hint)
    return found


def numbers(value: Any) -> npt.NDArray[Any] | None:
    """A number, or a list of such, as int64 or float64; None where it is something else."""
    if isinstance(value, str | dict) or value is None:
        return None
    try:
        found = np.asarray(value)
    except (ValueError, OverflowError, RecursionError):  # lists of different lengths
        return None
    if found.dtype.kind not in "biuf" or found.size == 0 != found.ndim - 1:
        return np.zeros(0, np.int64) if value == [] else None
    if found.dtype.kind in "biu":
        return None if found.dtype == np.uint64 else found.astype(np.int64)
    return found.astype(np.float64)


def targets_in(
    entry: Mapping[str, Any],
    others: Sequence[str],
    where: str,
    label: str = "label",
    classes: Sequence[str] = (),
) -> dict[str, npt.NDArray[Any]]:
    """What a line says besides: those of its values that are numbers, and its label under ``y``.

    Args:
        others: keys that hold no targets.
        label: key of the label; :data:`LABEL` serves, too.
        classes: names that it may have.

    Raises:
        DataError: there are two labels, or one is neither a number nor a class.
    """
    values = {name: numbers(value) for name, value in entry.items() if name not in others}
    found = {name: value for name, value in values.items() if value is not None}
    keys = [key for key in dict.fromkeys((label, LABEL)) if key in values]
    if len(keys) > 1:
        hint = "say one of them, or which one: [text], label"
        raise DataError(f"has both {label} and {LABEL}", where, hint)
    for key in keys:
        said = entry[key]
        if isinstance(said, str) and said in classes:
            found[key] = np.asarray(classes.index(said))
        if key not in found:
            hint = "number the classes, or name them in data.toml: classes"
            raise DataError(f"{key} is {repr(said)[:40]}, no number and no class", where, hint)
        found[LABEL] = found.pop(key)
    return found


def items_of(found: Sequence[Mapping[str, npt.NDArray[Any]]], name: str, where: str) -> KeptItems:
    """The values of one name.

    Raises:
        DataError: they have not one number of axes.
    """
    arrays = [one[name] for one in found]
    axes = {array.ndim for array in arrays}
    if len(axes) > 1:
        message = f"{name} has {min(axes)} axes in one sample and {max(axes)} in another"
        raise DataError(message, where, "give values of one kind")
    return KeptItems.of(arrays)


def target_rows(found: Sequence[Mapping[str, npt.NDArray[Any]]], where: str) -> dict[str, Rows]:
    """Targets that all samples have; where some have fewer values, they are filled up with −1.

    Raises:
        DataError: some samples have a label and others none, or of another kind.
    """
    names = [name for name in found[0] if all(name in one for one in found)]
    labelled = [number for number, one in enumerate(found) if LABEL in one]
    if labelled and LABEL not in names:
        without = next(number for number, one in enumerate(found) if LABEL not in one)
        message = f"sample {without} has no label that is a number, sample {labelled[0]} has one"
        raise DataError(message, where, "give every sample a label, or none")
    rows = {}
    for name in names:
        items = items_of(found, name, where)
        rows[name] = filled(items, items.shapes.max(axis=0), _NONE)
    return rows
