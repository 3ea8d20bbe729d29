"""Arrays in and out of files for ``pimc run``."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from pimc.data.arrays import npy_array, npz_arrays, npz_names
from pimc.errors import DataError, UsageError
from pimc.files.kinds.reading import read_as
from pimc.files.writing.atomic import write_whole
from pimc.progress import Progress

if TYPE_CHECKING:
    from pimc.runtime.interface import NodeArg
    from pimc.runtime.session import Session

__all__ = ["file_keys", "load_inputs", "run_in_batches", "save_outputs"]

Arrays = dict[str, npt.NDArray[Any]]


@read_as("data")
def load_inputs(path: Path, wanted: Sequence[NodeArg]) -> Arrays:
    """The model's inputs from a file: ``.npy`` for one, ``.npz`` by name.

    An ``.npz`` for a model with one input may call it ``x``. float64 becomes float32 where the
    model takes that.

    Raises:
        DataError: not such a file, a missing or unknown name, NaN or infinity.
    """
    names = [arg.name for arg in wanted]
    given = _read(path, names)
    if len(names) == 1 and set(given) == {"x"}:
        given = {names[0]: given["x"]}
    if set(given) != set(names):
        raise DataError(
            f"holds {', '.join(sorted(given)) or 'nothing'}",
            where=str(path),
            hint=f"the model's inputs are {', '.join(names)}",
        )
    return {arg.name: _checked(given[arg.name], arg, path) for arg in wanted}


def run_in_batches(session: Session, feed: Arrays, size: int, progress: Progress) -> Arrays:
    """Outputs by name; in batches where every input and output has the same free first axis."""
    names = [arg.name for arg in session.get_outputs()]
    count = _batch_count(session, feed)
    if count is None or count <= size:
        return dict(zip(names, session.run(names, feed), strict=True))
    parts = [
        session.run(names, {name: value[start : start + size] for name, value in feed.items()})
        for start in progress(range(0, count, size), "run")
    ]
    return {
        name: np.concatenate([part[number] for part in parts]) for number, name in enumerate(names)
    }


def file_keys(path: Path, names: Sequence[str]) -> dict[str, str]:
    """What each output is called in the file: a name with slashes would become a folder.

    Raises:
        UsageError: another suffix than ``.npz`` and ``.npy``, several outputs for one array, or
            two outputs with one key.
    """
    if path.suffix not in (".npz", ".npy"):
        raise UsageError("outputs go to .npz or .npy", str(path), "change the suffix of -o")
    if path.suffix == ".npy" and len(names) != 1:
        raise UsageError(
            f"there are {len(names)} outputs, an .npy file holds one", str(path), "use .npz"
        )
    keys: dict[str, str] = {}
    for name in names:
        key = name.replace("/", "_").lstrip("_") or name.replace("/", "_")
        if key in keys:
            raise UsageError(
                f"outputs {keys[key]!r} and {name!r} would both be called {key!r} in the file",
                where=str(path),
                hint="rename one of them in the model",
            )
        keys[key] = name
    return {name: key for key, name in keys.items()}


def save_outputs(path: Path, outputs: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write outputs by key to ``.npz``, or a single one to ``.npy``; whole or not at all.

    Args:
        path: ends in one of these suffixes; see :func:`file_keys`.
        outputs: by the keys of :func:`file_keys`.

    Raises:
        UsageError: the file cannot be written.
    """
    if path.suffix == ".npz":
        write_whole(path, lambda stream: _write_npz(stream, outputs))
    else:
        (only,) = outputs.values()
        write_whole(path, lambda stream: np.save(stream, only))


def _write_npz(stream: BinaryIO, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    # Not np.savez: it takes the names as keywords, and has one of its own called file. A member
    # of fixed date keeps the bytes the same.
    with zipfile.ZipFile(stream, "w") as archive:
        for key, value in arrays.items():
            member = zipfile.ZipInfo(f"{key}.npy")
            with archive.open(member, "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, value, allow_pickle=False)


def _read(path: Path, names: Sequence[str]) -> Arrays:
    if not path.exists():
        raise DataError("no such file", str(path), "check the path")
    if not path.is_file():
        raise DataError("is no regular file", str(path), "give an .npy or .npz file")
    try:
        found = _members(path) if zipfile.is_zipfile(path) else np.array(npy_array(path))
    except MemoryError:
        raise
    except Exception as cause:  # whatever a parser of bytes that others wrote ends with
        raise DataError(
            "not an .npy or .npz file of numbers, or damaged", str(path), "save it with numpy"
        ) from cause
    if isinstance(found, dict):
        return found
    if len(names) != 1:
        raise DataError(
            f"one array for the {len(names)} inputs {', '.join(names)}",
            where=str(path),
            hint="give an .npz with the inputs by name",
        )
    return {names[0]: found}


def _members(path: Path) -> Arrays:
    held = npz_names(path)
    found = npz_arrays(path, held)
    if len(found) != len(held):
        raise ValueError("a member is no array")
    return {name: np.asarray(rows[...]) for name, rows in found.items()}


def _checked(values: npt.NDArray[Any], arg: NodeArg, path: Path) -> npt.NDArray[Any]:
    if arg.type == "tensor(float)" and values.dtype == np.float64:
        values = values.astype(np.float32)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(f"NaN or infinity in input {arg.name}", str(path), "clean the data")
    if values.size == 0:
        raise DataError(f"input {arg.name} is empty", str(path), "give at least one sample")
    return values


def _batch_count(session: Session, feed: Arrays) -> int | None:
    """Samples in the feed; None where cutting it could change what the model computes."""
    axes = {str(arg.shape[0]) if arg.shape else "" for arg in _values(session)}
    fixed = any(not arg.shape or not isinstance(arg.shape[0], str) for arg in _values(session))
    counts = {len(value) for value in feed.values() if value.ndim}
    return counts.pop() if len(axes) == 1 and not fixed and len(counts) == 1 else None


def _values(session: Session) -> list[NodeArg]:
    return [*session.get_inputs(), *session.get_outputs()]
