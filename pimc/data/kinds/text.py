"""Text in JSON lines, and the token numbers that a tokenizer file makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.data.inputs import Input
from pimc.data.kinds.lines import (
    LABEL,
    at,
    items_of,
    numbers,
    objects,
    target_rows,
    targets_in,
)  # fmt: skip
from pimc.data.kinds.sequences import KeptItems, Sequences, filled, mask_of, padded
from pimc.data.kinds.stored import Stored
from pimc.data.kinds.tokens import Text, Tokens, tokenizer_of, windows_of
from pimc.errors import DataError
from pimc.files.strict import did_you_mean

__all__ = ["read_lines"]


def read_lines(
    path: Path,
    inputs: Sequence[Input],
    text: Text | None,
    how: Sequences,
    folder: Path,
    classes: Sequence[str] = (),
) -> Stored:
    """The samples of a file of JSON lines.

    Args:
        inputs: of the network, where it is known.
        text: how text becomes tokens; None where lines hold the inputs' numbers themselves.
        how: how samples of different lengths are brought to one.
        folder: in which ``data.toml`` lies.
        classes: names that labels may have.

    Raises:
        DataError: a line that is no sample, no lines, or a tokenizer's file that cannot be read.
        UsageError: the library tokenizers is not installed.
    """
    if text is None:
        return _plain(path, inputs, how, classes)
    return _tokenized(path, inputs, text, how, folder, classes)


def _plain(path: Path, inputs: Sequence[Input], how: Sequences, classes: Sequence[str]) -> Stored:
    """Lines that hold numbers under the names of inputs."""
    mask = mask_of(inputs, how, str(path))
    names = [one.name for one in inputs] or ["x"]
    samples: list[dict[str, npt.NDArray[Any]]] = []
    targets: list[dict[str, npt.NDArray[Any]]] = []
    for number, entry in objects(path):
        if len(names) == 1 and names[0] not in entry and "x" in entry:
            entry = {names[0]: entry["x"], **entry}
        given = {name: numbers(entry[name]) for name in names if name in entry}
        wrong = [name for name in names if given.get(name) is None and name != mask]
        if wrong:
            near = "" if wrong[0] in entry else did_you_mean(wrong[0], entry)
            raise DataError(
                f"holds no numbers under {wrong[0]}{near}",
                at(path, number),
                "give every input its numbers, or, of text, name a tokenizer in data.toml: [text]",
            )
        samples.append({name: value for name, value in given.items() if value is not None})
        others = (*names, "x")
        targets.append(targets_in(entry, others, at(path, number), classes=classes))
    if not samples:
        raise DataError("holds no samples", str(path), "give an object a line")
    held = [name for name in names if name in samples[0]]
    for number, sample in enumerate(samples):
        if sample.keys() != samples[0].keys():  # all but the mask are there
            message = f"sample {number} and sample 0 differ in whether they hold {mask}"
            raise DataError(message, str(path), "give every sample its mask, or none")
    items = {name: items_of(samples, name, str(path)) for name in held}
    rows = padded(items, inputs, how, str(path))
    return Stored(
        {name: rows[name] for name in names if name in rows}, target_rows(targets, str(path))
    )


def _tokenized(
    path: Path,
    inputs: Sequence[Input],
    text: Text,
    how: Sequences,
    folder: Path,
    classes: Sequence[str],
) -> Stored:
    """Lines that hold text."""
    ids = _ids_input(inputs, text)
    said = (text.max_length, how.length, ids.shape[1] if len(ids.shape) == 2 else None)
    longest = min((length for length in said if length is not None), default=None)
    encode, pad = tokenizer_of(folder / text.tokenizer, text, longest)
    made = {ids.name, text.types, text.positions, mask_of(inputs, how, str(path)) or ""}
    others = [one.name for one in inputs if one.name not in made]
    tokens: list[Tokens] = []
    given: list[dict[str, npt.NDArray[Any]]] = []
    targets: list[dict[str, npt.NDArray[Any]]] = []
    for number, entry in objects(path):
        found = encode(*_texts(entry, text, at(path, number)), at(path, number))
        parts = [found] if text.window is None else list(windows_of(found, text))
        tokens += parts
        given += [_given(entry, others, at(path, number))] * len(parts)
        ours = (*others, text.key, text.pair)
        targets += [targets_in(entry, ours, at(path, number), text.label, classes)] * len(parts)
    if not tokens:
        raise DataError("holds no samples", str(path), "give an object with a text a line")
    items = {name: items_of(given, name, str(path)) for name in others}
    items |= _items(tokens, ids.name, inputs, text)
    pads = {ids.name: float(pad) if how.pad is None else how.pad}
    alone = text.window is not None or how.pad is not None
    if text.window is not None:
        how = replace(how, length=text.window)
    values = padded(items, inputs, replace(how, pad=None), str(path), pads, alone)
    rows = target_rows(targets, str(path))
    if text.window is not None:
        told = [np.where(np.arange(len(t.ids)) < t.known, -1, t.ids) for t in tokens]
        rows[LABEL] = filled(KeptItems.of(told), (text.window,), -1)
    return Stored({one.name: values[one.name] for one in inputs} or values, rows)


def _ids_input(inputs: Sequence[Input], text: Text) -> Input:
    """The input that takes token numbers.

    Raises:
        DataError: the network has several, none of this name.
    """
    if not inputs:
        return Input(text.ids, (None, None), np.dtype(np.int64))
    named = [one for one in inputs if one.name == text.ids]
    if not named and len(inputs) > 1:
        names = ", ".join(one.name for one in inputs)
        message = f"text.ids: the network has no input {text.ids}"
        raise DataError(message, "data.toml", f"its inputs are {names}: say which takes the tokens")
    return (named or list(inputs))[0]


def _items(
    tokens: Sequence[Tokens], ids: str, inputs: Sequence[Input], text: Text
) -> dict[str, KeptItems]:
    """Token numbers, types and positions, those that the network takes."""
    made = {ids: [one.ids for one in tokens], text.types: [one.types for one in tokens]}
    if any(one.name == text.positions for one in inputs):
        made[text.positions] = [np.arange(len(one.ids), dtype=np.int32) for one in tokens]
    names = {one.name for one in inputs} or set(made)
    return {name: KeptItems.of(arrays) for name, arrays in made.items() if name in names}


def _texts(entry: Mapping[str, Any], text: Text, where: str) -> tuple[str, str | None]:
    """The text of a line, and the second one where it has one."""
    if text.key not in entry:
        near = did_you_mean(text.key, entry)
        hint = "name the key of the text in data.toml: [text], key"
        raise DataError(f"has no {text.key}{near}", where, hint)
    first, second = entry[text.key], entry.get(text.pair)
    for name, value in ((text.key, first), (text.pair, second)):
        if not isinstance(value, str) and (name == text.key or value is not None):
            raise DataError(f"{name} is {type(value).__name__}, no text", where, "give a string")
    return first, second


def _given(
    entry: Mapping[str, Any], names: Sequence[str], where: str
) -> dict[str, npt.NDArray[Any]]:
    """What a line says of inputs that no text makes."""
    found = {}
    for name in names:
        value = numbers(entry.get(name))
        if value is None:
            raise DataError(
                f"holds no numbers under {name}, and no text makes them",
                where,
                "the keys ids, types and positions of [text], and mask of [sequences], name inputs",
            )
        found[name] = value
    return found
