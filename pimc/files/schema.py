"""Tensors of a file, described once: type, shape, meaning, and the values that they hold.

:class:`TensorSpec` says what one tensor is; a table of them by name, those of a file or of a part
that a file has many of. A dataclass whose fields carry them gives such a table
(:func:`tensors_of`). The description serves what writes the file, what reads it, and the tables
of its specification.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

from pimc.errors import PimcError
from pimc.files.memory_map import let_go
from pimc.files.tensor_file import Content, Tensor

__all__ = [
    "Range",
    "Specs",
    "TensorSpec",
    "by_field",
    "by_name",
    "misfits",
    "missing",
    "outside",
    "require",
    "tensor",
    "tensor_rows",
    "tensors_of",
]

Range = tuple[float, float]
T = TypeVar("T")

_SPEC = "pimc.tensor"
#: At the end of a shape: any further dimensions.
_MORE = ("…",)
_LARGEST = float(np.finfo(np.float32).max)
#: Entries that are looked at together, so that mapped memory can be given back in between.
_BLOCK = 1 << 22
#: Ranges of values by name, both ends included. What is not a number lies in none.
_RANGES: Mapping[str, Range] = {
    "numbers": (-math.inf, math.inf),
    "finite": (-_LARGEST, _LARGEST),
    "not negative": (0.0, _LARGEST),
    "positive": (float(np.finfo(np.float32).smallest_subnormal), _LARGEST),
}
#: What an entry outside of such a range is; of any other the limits are told.
_FAULTS: Mapping[str, str] = {
    "numbers": "no numbers",
    "finite": "not finite",
    "not negative": "negative or not finite",
    "positive": "not above zero or not finite",
}


@dataclass(frozen=True)
class TensorSpec:
    """What one tensor of a file is.

    Attributes:
        dtypes: NumPy's names of the types it may have.
        shape: the dimensions: a number, or the name of a size. A name is known to who checks,
            or a product ``a · b`` of such names, or else any size, the same wherever it stands.
            ``…`` at the end stands for any further dimensions.
        doc: what it holds.
        values: name of the range that its entries lie in, one of those that hold everywhere
            (``numbers``, ``finite``, ``not negative``, ``positive``) or one that who checks knows.
        optional: a file may leave it out.
        needs: a tensor without which this one means nothing.
        runs: what a chip computes depends on it.
    """

    dtypes: tuple[str, ...]
    shape: tuple[str | int, ...]
    doc: str
    values: str = "numbers"
    optional: bool = False
    needs: str = ""
    runs: bool = True

    @property
    def text(self) -> str:
        """Type and shape as specifications write them: ``f32 (groups · cols,)``."""
        names = " or ".join(map(_short, self.dtypes))
        inside = ", ".join(map(str, self.shape)) + ("," if len(self.shape) == 1 else "")
        return f"{names} ({inside})"

    def misfit(self, content: Content, sizes: Mapping[str, int]) -> str | None:
        """What is wrong with type or shape of ``content``; None if nothing is."""
        named = self.shape[:-1] if self.shape[-1:] == _MORE else self.shape
        wanted = tuple(dim if (size := _size(dim, sizes)) is None else size for dim in named)
        found = content.shape[: len(named)] if named is not self.shape else content.shape
        if content.dtype.name in self.dtypes and found == wanted:
            return None
        wanted = (*wanted, *self.shape[len(named) :])
        expected = f"{' or '.join(self.dtypes)} ({', '.join(map(str, wanted))}"
        expected += ",)" if len(wanted) == 1 else ")"
        return f"is {content.dtype} {content.shape}, expected {expected}"


#: Tensors by name.
Specs = Mapping[str, TensorSpec]


def _short(dtype: str) -> str:
    """``f32`` for ``float32``."""
    return dtype.replace("uint", "u").replace("int", "i").replace("float", "f")


def tensor(
    dtypes: str | tuple[str, ...], shape: tuple[str | int, ...], doc: str, **options: Any
) -> dict[str, TensorSpec]:
    """Field metadata for one described tensor; ``options`` are the fields of the spec."""
    names = (dtypes,) if isinstance(dtypes, str) else dtypes
    return {_SPEC: TensorSpec(names, shape, doc, **options)}


def tensors_of(record: type) -> Specs:
    """The described tensors of a dataclass by field name, in order."""
    return {item.name: item.metadata[_SPEC] for item in fields(record) if _SPEC in item.metadata}


def by_field(
    specs: Specs, tensors: Mapping[str, T], named: Callable[[str], str] = str
) -> dict[str, T | None]:
    """The described tensors of a file by their short names; None for those that are not there.

    Args:
        named: the name in the file.
    """
    return {name: tensors.get(named(name)) for name in specs}


def by_name(instance: Any, named: Callable[[str], str] = str) -> dict[str, Any]:
    """The tensors of a record by their names in the file; inverse of :func:`by_field`."""
    values = {name: getattr(instance, name) for name in tensors_of(type(instance))}
    return {named(name): value for name, value in values.items() if value is not None}


def missing(specs: Specs, contents: Mapping[str, Content | None]) -> list[str]:
    """Names of tensors that must be there and are not."""
    there = [name for name in specs if contents.get(name) is not None]
    needed = [name for name, spec in specs.items() if not spec.optional]
    needed += [specs[name].needs for name in there if specs[name].needs]
    return [name for name in needed if name not in there]


def misfits(
    specs: Specs, contents: Mapping[str, Content | None], sizes: Mapping[str, int]
) -> Iterator[tuple[str, str]]:
    """Name and what is wrong, of tensors whose type or shape is not as described.

    What a tensor holds is not looked at.

    Args:
        contents: by name; those that are not there, or None, are passed over.
        sizes: sizes that are known.
    """
    known = dict(sizes)
    for name, spec in specs.items():
        content = contents.get(name)
        if content is None:
            continue
        for dim, size in zip(spec.shape, content.shape, strict=False):
            if isinstance(dim, str) and (dim,) != _MORE and _size(dim, known) is None:
                known[dim] = size
        problem = spec.misfit(content, known)
        if problem is not None:
            yield name, problem


def require(
    specs: Specs,
    contents: Mapping[str, Content | None],
    sizes: Mapping[str, int],
    error: type[PimcError],
    where: str,
    *,
    ranges: Mapping[str, Range] | None = None,
    named: Callable[[str], str] = str,
    hint: str = "write the file again",
) -> None:
    """Make sure that tensors are there, and of the types and shapes that are described.

    Args:
        contents: by name; others than those described are not looked at.
        sizes: sizes that are known.
        where: what the tensors are of, in messages.
        ranges: where given, values must lie in the ranges that are described; those among them
            that depend on the file, by the names that specs call them.
        named: the name in the file.

    Raises:
        error: one is not.
    """
    absent = missing(specs, contents)
    if absent:
        raise error(f"has no tensor {', '.join(map(named, absent))}", where, hint)
    for name, problem in misfits(specs, contents, sizes):
        raise error(f"tensor {named(name)} {problem}", where, hint)
    if ranges is None:
        return
    for name, spec in specs.items():
        values = contents.get(name)
        if isinstance(values, np.ndarray) and outside(spec, values, ranges) is not None:
            fault = _fault(spec, values, ranges)
            raise error(f"tensor {named(name)} holds values that are {fault}", where, hint)


def _fault(spec: TensorSpec, values: Tensor, ranges: Mapping[str, Range]) -> str:
    """What values outside of their range are."""
    if spec.values in _FAULTS:
        return _FAULTS[spec.values]
    low, high = ranges[spec.values]
    either = "no numbers or " if values.dtype.kind == "f" else ""
    return f"{either}outside {low:.10g} to {high:.10g}"


def _size(dim: str | int, sizes: Mapping[str, int]) -> int | None:
    """The size of a dimension, as far as it is known."""
    if isinstance(dim, int):
        return dim
    if dim in sizes:
        return sizes[dim]
    parts = [sizes.get(part) for part in dim.split(" · ")]
    return None if None in parts else math.prod(part for part in parts if part is not None)


def outside(
    spec: TensorSpec, values: Tensor, ranges: Mapping[str, Range] | None = None
) -> Range | None:
    """The range that an entry lies outside of, or is no number; None if all lie within.

    Nothing is copied, and of a mapped file no more than a block is held.

    Args:
        ranges: those that depend on the file, by the names that specs call them.
    """
    low, high = {**_RANGES, **(ranges or {})}[spec.values]
    flat = values.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        # NaN fails every comparison.
        fits = bool(block.min() >= low and block.max() <= high)
        if flat.size > _BLOCK:
            let_go(block)
        if not fits:
            return low, high
    return None


def tensor_rows(specs: Specs, named: Callable[[str], str] = str) -> Iterator[str]:
    """Tensors as rows of a Markdown table: name in the file, type and shape, content."""
    for name, spec in specs.items():
        optional = "optional, " if spec.optional else ""
        needs = f"with `{spec.needs}`: " if spec.needs else ""
        yield f"| `{named(name)}` | {spec.text} | {optional}{needs}{spec.doc} |"
