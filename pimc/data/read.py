"""Readers of stored data: what a file or folder holds, unconverted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pimc.data.arrays import idx_array, idx_rows, npy_array, npz_arrays, npz_names, npz_targets
from pimc.data.images import IMAGE_SUFFIXES, image_rows
from pimc.data.inputs import Input
from pimc.data.kinds.coco import Boxes, read_boxes
from pimc.data.kinds.find import SOUND_SUFFIXES, Source, find_source
from pimc.data.kinds.folders import listed
from pimc.data.kinds.sample_files import read_samples
from pimc.data.kinds.sequences import Sequences
from pimc.data.kinds.sound import Audio, read_recordings, sound_rows
from pimc.data.kinds.stored import Stored
from pimc.data.kinds.text import read_lines
from pimc.data.layout import Preprocess
from pimc.data.settings import Settings
from pimc.data.stateful.states import hint_for
from pimc.errors import DataError, PimcError

__all__ = ["Source", "Stored", "find_source", "read_source"]

_IDX_IMAGES = re.compile(r"images([-.])idx3")


@dataclass(frozen=True)
class Wanted:
    """What is asked of a reader.

    Attributes:
        inputs: of the network, where it is known.
        how: by the name of the input (``x`` where none is known), to what size images are brought.
        settings: what ``data.toml`` says.
        folder: in which it lies.
    """

    inputs: Sequence[Input]
    how: Mapping[str, Preprocess]
    settings: Settings
    folder: Path


def read_source(
    source: Source,
    how: Mapping[str, Preprocess],
    inputs: Sequence[Input] = (),
    settings: Settings | None = None,
) -> Stored:
    """Read what a source holds.

    Args:
        source: from :func:`find_source`.
        how: by the name of the input (``x`` where none is known), to what size images are brought.
        inputs: of the network, where it is known.
        settings: what ``data.toml`` says of kinds of data.

    Raises:
        DataError: the file is broken, truncated, or lacks what is needed.
        UsageError: a library that reads it is not installed.
    """
    wanted = Wanted(inputs, how, settings or Settings(), source.folder)
    try:
        return _READERS[source.kind](source.path, wanted)
    except PimcError:
        raise
    except Exception as cause:  # whatever a parser of bytes that others wrote ends with
        text = str(cause)
        pickled = "pickle" in text.lower() or "Object arrays" in text
        raise DataError(
            "holds Python objects" if pickled else f"cannot be read: {text or 'it is truncated'}",
            str(source.path),
            "save plain number arrays" if pickled else "the file may be broken: make it again",
        ) from cause


def _read_npz(path: Path, wanted: Wanted) -> Stored:
    held = npz_names(path)
    inputs = wanted.inputs
    keys = {one.name: one.name for one in inputs} or {"x": "x"}
    if len(keys) == 1 and not keys.keys() & set(held):
        keys = dict.fromkeys(keys, "x")
    missing = [name for name in keys.values() if name not in held]
    if missing:
        message = f"holds no array {', '.join(missing)} (it holds {', '.join(held) or 'nothing'})"
        hint = hint_for(missing, [one.name for one in inputs])
        raise DataError(message, str(path), hint)
    stored = npz_arrays(path, [*keys.values(), "y"])
    values = {name: stored[key] for name, key in keys.items()}
    labels = {} if "y" in keys.values() or "y" not in stored else {"y": stored["y"]}
    rest = [name for name in held if name not in (*keys.values(), "y")]
    count = max((rows.shape[0] for rows in values.values() if rows.shape), default=0)
    return Stored(values, labels | npz_targets(path, rest, count))


def _read_npy(path: Path, wanted: Wanted) -> Stored:
    return Stored({_only_of(wanted.inputs, path): npy_array(path)})


def _read_idx(path: Path, wanted: Wanted) -> Stored:
    name, x = _only_of(wanted.inputs, path), idx_rows(path)
    if len(x.shape) < 2:
        raise DataError("holds labels, not samples", str(path), "give the images-idx3 file")
    layout = "NHW" if len(x.shape) == 3 else None
    labels = path.with_name(_IDX_IMAGES.sub(r"labels\1idx1", path.name))
    if labels == path or not labels.is_file():
        return Stored({name: x}, layout=layout)
    try:
        y = idx_array(labels)
    except Exception as cause:
        raise DataError(f"cannot be read: {cause}", str(labels), "make the file again") from cause
    return Stored({name: x}, {"y": y}, layout)


def _read_lines(path: Path, wanted: Wanted) -> Stored:
    tables, classes = wanted.settings.tables, wanted.settings.classes
    text, how = tables.get("text"), tables.get("sequences", Sequences())
    if text is None and "audio" in tables:
        return read_recordings(path, _only_of(wanted.inputs, path), tables["audio"], classes)
    return read_lines(path, wanted.inputs, text, how, wanted.folder, classes)


def _read_samples(folder: Path, wanted: Wanted) -> Stored:
    return read_samples(folder, wanted.inputs, wanted.settings.tables.get("sequences", Sequences()))


def _read_pictures(folder: Path, wanted: Wanted) -> Stored:
    """Images of a folder as uint8 (N, H, W, C); classes are the sorted sub-folder names."""
    name, found = _only_of(wanted.inputs, folder), listed(folder, IMAGE_SUFFIXES, "image")
    x = image_rows(found.files, wanted.how[name], _channels(wanted.inputs))
    return Stored({name: x}, found.targets, "NHWC", found.classes)


def _read_sound(folder: Path, wanted: Wanted) -> Stored:
    """What a front end makes of sounds; classes are the sorted sub-folder names."""
    name, found = _only_of(wanted.inputs, folder), listed(folder, SOUND_SUFFIXES, "sound")
    x = sound_rows(found.files, wanted.settings.tables.get("audio", Audio()))
    return Stored({name: x}, found.targets, classes=found.classes)


def _read_boxes(path: Path, wanted: Wanted) -> Stored:
    """Images with boxes."""
    name, boxes = _only_of(wanted.inputs, path), wanted.settings.tables.get("boxes", Boxes())
    return read_boxes(path, name, wanted.how[name], _channels(wanted.inputs), boxes)


def _channels(inputs: Sequence[Input]) -> int | None:
    """Of images that the network takes, where it says so."""
    shape = inputs[0].shape if inputs else ()
    return shape[1] if len(shape) == 4 else None


_READERS: Mapping[str, Callable[[Path, Wanted], Stored]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".gz": _read_idx,
    ".jsonl": _read_lines,
    "samples": _read_samples,
    "pictures": _read_pictures,
    "sound": _read_sound,
    "boxes": _read_boxes,
}


def _only_of(inputs: Sequence[Input], path: Path) -> str:
    """The name of the only input.

    Raises:
        DataError: the network has several.
    """
    names = [one.name for one in inputs] or ["x"]
    if len(names) > 1:
        raise DataError(
            f"holds one array, and the network has the inputs {', '.join(names)}",
            str(path),
            "give an .npz with an array for each input under its name",
        )
    return names[0]
