"""What was done, from what, and what came of it: one record a step, beside ``pimc.toml``."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pimc.files.writing.atomic import replacing

__all__ = ["Present", "Record", "Steps", "key_of"]

#: Of this form are records; others are not understood, and what they tell is done again.
_FORMAT = 2


@dataclass(frozen=True)
class Record:
    """A step that was done.

    Attributes:
        version: of pimc.
        options: all that may change the result, as text by parameter.
        defaults: what the project file said for the command, as text by parameter.
        inputs: SHA-256 of what was read, by label: ``KIND:PATH``.
        outputs: SHA-256 of what was written, by label.
        dies: SHA-256 of dies' files before (None: there was none) and after, by label.
        data, text, answer: the report.
        finished: when, in ISO 8601, finely enough to tell which step was first.
        line: the command line, as it was typed; None where none was.
    """

    version: str
    command: str
    options: Mapping[str, str]
    defaults: Mapping[str, str]
    inputs: Mapping[str, str | None]
    outputs: Mapping[str, str | None]
    dies: Mapping[str, tuple[str | None, str | None]]
    data: Mapping[str, Any]
    text: str
    answer: bool
    finished: str
    seconds: float
    line: str | None = None

    @property
    def since(self) -> str:
        """When it was finished, to the second."""
        return re.sub(r"\.\d+", "", self.finished)


@dataclass(frozen=True)
class Present:
    """How things are now.

    Attributes:
        version: of pimc.
        of: the SHA-256 of what a label names; None where there is nothing.
        defaults: what the project file says for a command; None where that cannot be told.
    """

    version: str
    of: Callable[[str], str | None]
    defaults: Callable[[str], Mapping[str, str] | None]

    def holds(self, record: Record) -> bool:
        """Whether a step is as it was, but for the dies that it read or wrote."""
        files = {**record.inputs, **record.outputs}
        return (
            record.version == self.version
            and self.defaults(record.command) == record.defaults
            and all(self.of(label) == digest for label, digest in files.items())
        )


def key_of(command: str, options: Mapping[str, str]) -> str:
    """The name of a step's record: the command and a digest of the options."""
    told = json.dumps([command, dict(sorted(options.items()))])
    return f"{command}-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


class Steps:
    """The records of a project.

    Args:
        folder: where they lie; a file each, so that steps may run side by side.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, key: str) -> Record | None:
        """The record of a step; None where there is none that can be read."""
        return _record(self._folder / f"{key}.json")

    def all(self) -> Iterator[Record]:
        """All records that can be read."""
        for path in sorted(self._folder.glob("*.json")):
            found = _record(path)
            if found is not None:
                yield found

    def save(self, key: str, record: Record) -> None:
        """Note a step.

        Raises:
            UsageError: the file cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        ignored = self._folder.parent / ".gitignore"
        if not ignored.exists():
            with replacing(ignored) as stream:
                stream.write(b"*\n")
        told = {"format": _FORMAT, **asdict(record)}
        with replacing(self._folder / f"{key}.json") as stream:
            stream.write((json.dumps(told, ensure_ascii=False) + "\n").encode())

    def changed(
        self,
        record: Record,
        inputs: Mapping[str, str | None],
        dies: Collection[str],
        present: Present,
    ) -> str:
        """Why a step is not up to date; empty where it is.

        A die is up to date where its file holds what the step left, or what later steps made of
        that which are up to date themselves.

        Args:
            inputs: what the step would read now.
            dies: labels of the dies that it would read or write.
        """
        if record.version != present.version:
            return f"pimc is {present.version}, it was {record.version}"
        for label in sorted({*inputs, *record.inputs}):
            if inputs.get(label) != record.inputs.get(label):
                return f"{label.partition(':')[2]} has changed"
        if set(dies) != set(record.dies):
            return "there are other dies"
        left = {**record.outputs, **{label: after for label, (_, after) in record.dies.items()}}
        for label, digest in sorted(left.items()):
            found = present.of(label)
            if found != digest and not self._led_to(label, digest, found, present, (record,)):
                return f"{label.partition(':')[2]} {'has changed' if found else 'is gone'}"
        return ""

    def _led_to(
        self,
        label: str,
        digest: str | None,
        found: str | None,
        present: Present,
        seen: tuple[Record, ...],
    ) -> bool:
        """Whether steps that are up to date made of a die what it is now."""
        for link in self.all():
            before, after = link.dies.get(label, (None, None))
            if before is None or before != digest or after == before or link in seen:
                continue
            if present.holds(link) and (
                after == found or self._led_to(label, after, found, present, (*seen, link))
            ):
                return True
        return False


def _record(path: Path) -> Record | None:
    """The record in a file; None where it is not one of ours, as a whole."""
    try:
        told = json.loads(path.read_bytes(), parse_constant=_refused)
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or told.pop("format", None) != _FORMAT:
        return None
    if told.keys() != _FIELDS.keys() or not all(_FIELDS[one](told[one]) for one in told):
        return None
    dies = {label: (before, after) for label, (before, after) in told["dies"].items()}
    return Record(**told | {"dies": dies})


def _refused(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_text_or_none, value))


def _table_of(sound: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(sound, value.values()))


#: What each field of a record must be.
_FIELDS: Mapping[str, Callable[[object], bool]] = {
    "version": _is_text,
    "command": _is_text,
    "options": _table_of(_is_text),
    "defaults": _table_of(_is_text),
    "inputs": _table_of(_is_text_or_none),
    "outputs": _table_of(_is_text_or_none),
    "dies": _table_of(_is_pair),
    "data": lambda value: isinstance(value, dict),
    "text": _is_text,
    "answer": lambda value: isinstance(value, bool),
    "finished": _is_text,
    "seconds": lambda value: isinstance(value, int | float),
    "line": _is_text_or_none,
}
