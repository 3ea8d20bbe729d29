"""Which command lines made a file, as the records of a project's steps tell it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pimc.files.writing.atomic import sha256_file
from pimc.project.file import RECORDS
from pimc.project.steps import Record, Steps

__all__ = ["lines_of"]


def lines_of(path: Path) -> tuple[str, ...]:
    """The command lines that led to a file as it is now, those that were run first at the front.

    Of what a step read, the steps that made it count, too. There are none where the file lies in
    no project, or was changed since by anything else.

    Raises:
        UsageError: the file cannot be read.
    """
    path = path.resolve()
    folder = next((one for one in path.parents if (one / RECORDS / "steps").is_dir()), None)
    if folder is None:
        return ()
    records = sorted(Steps(folder / RECORDS / "steps").all(), key=lambda one: one.finished)
    label = f"file:{path.relative_to(folder)}"
    led = list(_leading(label, sha256_file(path), records, set()))
    return tuple(one.line for one in records if one in led and one.line)


def _leading(
    label: str, digest: str | None, records: Sequence[Record], seen: set[tuple[str, str | None]]
) -> Iterator[Record]:
    """The last step that left this there, and those before it, each file looked at once."""
    if (label, digest) in seen:
        return
    seen.add((label, digest))
    last = next((one for one in reversed(records) if _left(one, label, digest)), None)
    if last is None:
        return
    yield last
    before = {**last.inputs, **{label: held for label, (held, _) in last.dies.items()}}
    for name, held in before.items():
        yield from _leading(name, held, records, seen)


def _left(record: Record, label: str, digest: str | None) -> bool:
    """Whether a step wrote a file, or changed a die into what it is."""
    before, after = record.dies.get(label, (None, None))
    changed = after is not None and after == digest != before
    return changed or (digest is not None and record.outputs.get(label) == digest)
