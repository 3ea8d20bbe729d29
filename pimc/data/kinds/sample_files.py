"""Folders of ``.npz`` files, one a sample: arrays by the name of the input, without their axis."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.data.arrays import member_head, npz_arrays
from pimc.data.inputs import Input
from pimc.data.kinds.folders import files_in
from pimc.data.kinds.lines import LABEL
from pimc.data.kinds.sequences import Sequences, filled, mask_of, padded
from pimc.data.kinds.stored import Stored
from pimc.data.rows import Rows
from pimc.errors import DataError, PimcError

__all__ = ["is_sample", "read_samples"]

_HINT = "every file holds one sample: an array for each input, without the samples' axis"
#: What targets are filled up with where samples have fewer.
_NONE = -1

Head = tuple[tuple[int, ...], np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class _FileItems:
    """Arrays of one name, each read from its file when it is asked for."""

    files: tuple[Path, ...] = field(repr=False)
    name: str
    shapes: npt.NDArray[np.int64] = field(repr=False)
    dtype: np.dtype[Any]

    def item(self, place: int) -> npt.NDArray[Any]:
        """The array of a file.

        Raises:
            DataError: it cannot be read, or is another one than before.
        """
        path = self.files[place]
        try:
            found = np.asarray(npz_arrays(path, [self.name])[self.name][...])
        except PimcError:
            raise
        except Exception as cause:
            raise _broken(path, cause) from cause
        if found.shape != tuple(self.shapes[place]):
            raise DataError(f"{self.name} has another shape than before", str(path), "read it anew")
        return found


def is_sample(path: Path, inputs: Sequence[Input]) -> bool:
    """Whether the arrays of a file lack the samples' axis that the network's inputs have."""
    try:
        heads = _heads(path)
    except DataError:
        return False
    names = {one.name: heads.get(one.name) for one in inputs}
    if len(inputs) == 1 and names == {inputs[0].name: None}:
        names = {inputs[0].name: heads.get("x")}
    axes = [
        len(one.shape) - len(head[0])
        for one in inputs
        if (head := names[one.name]) is not None and one.shape
    ]
    return bool(axes) and set(axes) == {1}


def read_samples(folder: Path, inputs: Sequence[Input], how: Sequences) -> Stored:
    """The samples of a folder, in the order of their files' names; arrays are read when needed.

    Raises:
        DataError: a file cannot be read, or holds other arrays than the first.
    """
    files = tuple(files_in(folder, {".npz"}))
    first = _heads(files[0])
    mask = mask_of(inputs, how, str(folder))
    keys = {one.name: one.name for one in inputs} or {"x": "x"}
    if len(keys) == 1 and not keys.keys() & first.keys():
        keys = dict.fromkeys(keys, "x")
    missing = [key for name, key in keys.items() if key not in first and name != mask]
    if missing:
        held = ", ".join(first) or "nothing"
        raise DataError(f"holds no {', '.join(missing)} (it holds {held})", str(files[0]), _HINT)
    keys = {name: key for name, key in keys.items() if key in first}
    names = [name for name, (_, dtype) in first.items() if dtype.kind in "biuf"]
    items = _items(files, {*names, *keys.values()}, first)
    values = padded({name: items[key] for name, key in keys.items()}, inputs, how, str(folder))
    others = {name: found for name, found in items.items() if name not in keys.values()}
    targets = {name: _target(found) for name, found in others.items()}
    return Stored({one.name: values[one.name] for one in inputs} or values, targets)


def _items(
    files: tuple[Path, ...], names: set[str], first: Mapping[str, Head]
) -> dict[str, _FileItems]:
    """Arrays by name; of every file the heads are looked at."""
    shapes: dict[str, list[tuple[int, ...]]] = {name: [] for name in first if name in names}
    for path in files:
        heads = _heads(path)
        if LABEL in heads and LABEL not in first:
            raise DataError(f"holds {LABEL}, {files[0].name} does not", str(path), _HINT)
        for name, met in shapes.items():
            if name not in heads:
                raise DataError(f"holds no {name}, {files[0].name} does", str(path), _HINT)
            shape, dtype = heads[name]
            if dtype != first[name][1] or len(shape) != len(first[name][0]):
                raise DataError(
                    f"{name} is {dtype} of shape {shape}, in {files[0].name} "
                    f"{first[name][1]} of shape {first[name][0]}",
                    str(path),
                    _HINT,
                )
            met.append(shape)
    return {
        name: _FileItems(
            files, name, np.array(met, np.int64).reshape(len(files), -1), first[name][1]
        )
        for name, met in shapes.items()
    }


def _target(items: _FileItems) -> Rows:
    """Where some samples have fewer values, they are filled up with −1."""
    shape = items.shapes.max(axis=0)
    if items.dtype.kind in "ub" and (items.shapes < shape).any():
        items = replace(items, dtype=np.dtype(np.int64))
    return filled(items, shape, _NONE)


def _heads(path: Path) -> dict[str, Head]:
    """Shape and type of every array of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            return {
                name.removesuffix(".npy"): member_head(archive, name)
                for name in archive.namelist()
                if name.endswith(".npy")
            }
    except Exception as cause:
        raise _broken(path, cause) from cause


def _broken(path: Path, cause: Exception) -> DataError:
    return DataError(f"cannot be read: {cause or 'it is truncated'}", str(path), "make it again")
