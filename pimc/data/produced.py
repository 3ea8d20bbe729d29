"""Samples that a Python function yields: ``module:function``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.data.inputs import Input
from pimc.data.read import Stored
from pimc.data.rows import RowWriter
from pimc.errors import DataError, PimcError

__all__ = ["is_callable", "produced"]

_NAMED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_HINT = "it yields mappings from input names to arrays, or pairs of one and its target"


def is_callable(path: str | Path) -> bool:
    """Whether DATA names a Python function, and no file that there is."""
    return bool(_NAMED.fullmatch(str(path))) and not Path(path).exists()


def produced(named: str, inputs: Sequence[Input] = ()) -> Stored:
    """What a function yields, sample by sample; beyond a certain size it is laid down in a file.

    Args:
        named: ``module:function``; the module is also looked for in the current folder.
        inputs: of the network, where it is known.

    Raises:
        DataError: there is no such function, it fails, or it yields something else than samples.
    """
    only = inputs[0].name if len(inputs) == 1 else "x" if not inputs else None
    values: dict[str, _Column] = {}
    targets: dict[str, _Column] = {}
    # What the function prints is no answer of a command's.
    with _current_folder(), redirect_stdout(sys.stderr):
        for number, item in enumerate(_items(named)):
            where = f"{named}, sample {number}"
            sample, target = _parts(item, only, where)
            if not number:
                values = {name: _Column(array) for name, array in sample.items()}
                targets = {name: _Column(array) for name, array in target.items()}
            for columns, arrays in ((values, sample), (targets, target)):
                if columns.keys() != arrays.keys():
                    told = ", ".join(arrays) or "nothing"
                    message = f"has {told}, the first one has {', '.join(columns) or 'nothing'}"
                    raise DataError(message, where, _HINT)
                for name, array in arrays.items():
                    columns[name].add(name, array, where)
    if not values:
        raise DataError("yields no samples", named, _HINT)
    names = {one.name for one in inputs}
    if len(names) == 1 and "x" in values and not names & values.keys():
        values = {next(iter(names)): values.pop("x"), **values}
    missing = names - values.keys()
    if missing:
        listed = ", ".join(one.name for one in inputs)
        message = f"yields no {', '.join(sorted(missing))} (it yields {', '.join(values)})"
        raise DataError(message, named, f"the network's inputs are {listed}")
    others = {name: values.pop(name) for name in [*values] if names and name not in names}
    if not names and "y" in values:
        others["y"] = values.pop("y")
    return Stored(
        {name: column.writer.done() for name, column in values.items()},
        {name: column.writer.done() for name, column in (targets | others).items()},
    )


class _Column:
    """The values of one name, as they come."""

    def __init__(self, first: npt.NDArray[Any]) -> None:
        self._shape, self._dtype = first.shape, first.dtype
        self.writer = RowWriter(first.shape, first.dtype)

    def add(self, name: str, array: npt.NDArray[Any], where: str) -> None:
        if (array.shape, array.dtype) != (self._shape, self._dtype):
            raise DataError(
                f"{name} is {array.dtype} of shape {array.shape}, in the first sample "
                f"{self._dtype} of shape {self._shape}",
                where,
                "yield arrays of one shape and type",
            )
        self.writer.write(np.ascontiguousarray(array).tobytes())


def _parts(
    item: Any, only: str | None, where: str
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    """A sample and its target, both by name."""
    sample, target = item if isinstance(item, tuple) and len(item) == 2 else (item, {})
    if not isinstance(sample, Mapping):
        if only is None or isinstance(sample, str | bytes | list | tuple):
            raise DataError(f"is {type(sample).__name__}, no mapping", where, _HINT)
        sample = {only: sample}
    if not isinstance(target, Mapping):
        target = {"y": target}
    return _arrays(sample, where), _arrays(target, where)


def _arrays(given: Mapping[str, Any], where: str) -> dict[str, npt.NDArray[Any]]:
    found = {}
    for name, value in given.items():
        try:
            array = np.asarray(value)
        except Exception as cause:  # lists of several lengths, tensors with gradients, and so on
            raise DataError(f"{name} is no array: {cause}", where, _HINT) from cause
        if array.dtype.kind not in "biuf":
            raise DataError(f"{name} holds {array.dtype}, not real numbers", where, _HINT)
        found[str(name)] = array
    return found


def _items(named: str) -> Iterator[Any]:
    """What the function yields.

    Raises:
        DataError: it cannot be found, or fails.
    """
    module, _, function = named.partition(":")
    try:
        found: Any = import_module(module)
        for part in function.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as cause:  # whatever a foreign module does when imported
        why = str(cause) or type(cause).__name__
        hint = "name a function of a module that can be imported: module:function"
        raise DataError(f"cannot be loaded: {why}", named, hint) from cause
    try:
        items = iter(found())
    except PimcError:
        raise
    except (Exception, SystemExit) as cause:
        raise _failed(named, cause) from cause
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except PimcError:
            raise
        except (Exception, SystemExit) as cause:
            raise _failed(named, cause) from cause
        yield item


def _failed(named: str, cause: BaseException) -> DataError:
    why = f": {cause}" if str(cause) else ""
    return DataError(f"the function failed: {type(cause).__name__}{why}", named, _HINT)


@contextmanager
def _current_folder() -> Iterator[None]:
    """Modules of the current folder can be imported."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)
