"""Samples of different lengths: filled up to one length, and what tells the network so.

What is added lies behind the values; a mask says of every place whether a value stands there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from pimc.data import rows
from pimc.data.inputs import Input
from pimc.data.rows import LazyRows, Rows
from pimc.errors import DataError
from pimc.files.strict import Rule, setting, settle

__all__ = ["Items", "KeptItems", "Sequences", "filled", "mask_of", "padded"]

_USUAL = "attention_mask"


@dataclass(frozen=True)
class Sequences:
    """How samples of different lengths are brought to one."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("pad", lambda s: s.pad is None or abs(s.pad) < 2**31, "lies beyond 32 bits"),
    )

    mask: str = setting(
        "",
        "str",
        "input that says where values stand; else `attention_mask`, or the only one with mask in "
        "its name",
    )
    mask_marks: str = setting(
        "values",
        "str",
        "what is 1 in the mask: places where values stand, or those that were added",
        choices=("values", "padding"),
    )
    pad: float | None = setting(
        None, "float", "what is added; else what a tokenizer fills with, or 0 where there is a mask"
    )
    length: int | None = setting(
        None,
        "int",
        "length to which samples are filled up, or cut; else the network's, or the longest one's",
        above=0,
    )

    def __post_init__(self) -> None:
        if problems := settle(self):
            raise DataError("; ".join(problems), where="sequences")


class Items(Protocol):
    """Samples of one name, each an array of its own length."""

    @property
    def shapes(self) -> npt.NDArray[np.int64]:
        """(samples, axes) of each sample."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all samples."""
        ...

    def item(self, place: int) -> npt.NDArray[Any]:
        """One sample."""
        ...


@dataclass(frozen=True, eq=False)
class KeptItems:
    """Samples in memory, one behind the other.

    Attributes:
        flat: their values.
        ends: (samples,) where each one ends.
    """

    flat: npt.NDArray[Any] = field(repr=False)
    ends: npt.NDArray[np.int64] = field(repr=False)
    shapes: npt.NDArray[np.int64] = field(repr=False)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return self.flat.dtype

    @staticmethod
    def of(arrays: Sequence[npt.NDArray[Any]]) -> KeptItems:
        """Arrays of one number of axes."""
        dtype = np.result_type(*{array.dtype for array in arrays})
        flat = np.concatenate([array.reshape(-1) for array in arrays]).astype(dtype, copy=False)
        shapes = np.array([array.shape for array in arrays], np.int64)
        return KeptItems(flat, np.cumsum([array.size for array in arrays]), shapes)

    def item(self, place: int) -> npt.NDArray[Any]:
        """One sample."""
        start = int(self.ends[place - 1]) if place else 0
        return self.flat[start : int(self.ends[place])].reshape(self.shapes[place].tolist())


@dataclass(frozen=True, eq=False)
class _Filled(LazyRows):
    """Samples, each filled up to one shape when it is asked for."""

    of: Items
    shape: tuple[int, ...]
    pad: float

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return self.of.dtype

    def rows(self, places: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The samples at ``places``."""
        found = np.full((len(places), *self.shape[1:]), self.pad, self.dtype)
        for number, place in enumerate(places.tolist()):
            one = self.of.item(place)
            part = tuple(slice(min(*pair)) for pair in zip(one.shape, self.shape[1:], strict=True))
            there: tuple[int | slice, ...] = (number, *part)
            found[there] = one[part]
        return found


@dataclass(frozen=True, eq=False)
class _Mask(LazyRows):
    """Where values of samples stand, 1 or 0."""

    lengths: npt.NDArray[np.int64] = field(repr=False)
    shape: tuple[int, ...]
    marks_values: bool

    dtype = np.dtype(np.uint8)

    def rows(self, places: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The masks at ``places``."""
        there: npt.NDArray[np.bool_] = np.arange(self.shape[1]) < self.lengths[places, None]
        return np.asarray(there == self.marks_values, np.uint8)


def filled(items: Items, shape: Sequence[int], pad: float) -> Rows:
    """Samples (N, …), each filled up with ``pad`` behind its values, or cut, to ``shape``.

    What is small is an array in memory.

    Raises:
        DataError: the type of the values does not hold ``pad``.
    """
    with np.errstate(all="ignore"):
        held = np.asarray(pad).astype(items.dtype) == pad
    if not held and (items.shapes < np.asarray(shape)).any():
        raise DataError(f"pad: {pad:g} is no {items.dtype}, as the values are", where="sequences")
    lazy = _Filled(items, (len(items.shapes), *map(int, shape)), pad if held else 0)
    return _held(lazy)


def _held(lazy: LazyRows) -> Rows:
    size = lazy.dtype.itemsize * int(np.prod(lazy.shape, dtype=object))
    return lazy if size > rows.HELD_BYTES else lazy[:]


def mask_of(inputs: Sequence[Input], how: Sequences, where: str) -> str | None:
    """The input that says where values stand; None where the network has none.

    Raises:
        DataError: the one that is stated is none of the network.
    """
    names = [one.name for one in inputs]
    if how.mask and inputs and how.mask not in names:
        hint = f"the network's inputs are {', '.join(names)}"
        raise DataError(f"sequences.mask: the network has no input {how.mask}", where, hint)
    named = [name for name in names if "mask" in name.lower()]
    usual = [name for name in names if name == (how.mask or _USUAL)]
    return next(iter(usual or (named if len(named) == 1 else [])), None)


def padded(
    items: Mapping[str, Items],
    inputs: Sequence[Input],
    how: Sequences,
    where: str,
    pads: Mapping[str, float] | None = None,
    alone: bool = False,
) -> dict[str, Rows]:
    """Values by the name of the input, all samples of one length, with the mask that tells it.

    Args:
        items: by the name of the input. A mask that is not among them is made.
        inputs: of the network, where it is known.
        pads: by the name of the input, what is added where ``how`` does not say.
        alone: what was added does no harm where there is no mask.

    Raises:
        DataError: there is no mask, and nothing says what to add, or samples that have not one
            number of axes, or different lengths in one sample.
    """
    wanted = {one.name: one.shape for one in inputs}
    mask = mask_of(inputs, how, where)
    found: dict[str, Rows] = {}
    lengths: npt.NDArray[np.int64] | None = None
    told: str | None = None
    for name, given in items.items():
        shapes = given.shapes
        if not shapes.shape[1]:
            found[name] = filled(given, (), 0)
            continue
        tail = shapes[:, 1:]
        if (tail != tail[0]).any():
            raise _unlike(name, shapes, where)
        length = _length(wanted.get(name), shapes, how)
        if (shapes[:, 0] < length).any() and name != mask:
            if mask is None and not alone and how.pad is None:
                raise _no_mask(name, shapes[:, 0], length, where)
            if lengths is not None and (lengths != shapes[:, 0]).any():
                raise _other_lengths(name, lengths, shapes[:, 0], where)
            lengths, told = shapes[:, 0], name
        pad = how.pad if how.pad is not None else (pads or {}).get(name, 0.0)
        if name == mask:
            pad = float(how.mask_marks == "padding")
        found[name] = filled(given, (length, *tail[0]), pad)
    if mask is not None and mask not in found and found:
        found[mask] = _made_mask(items, found, how, told or _sequence_of(items, wanted))
    return found


def _sequence_of(
    items: Mapping[str, Items], wanted: Mapping[str, Sequence[int | None]]
) -> str | None:
    """The input that a mask is of where none was filled up: the first one of a free length."""
    names = [name for name, given in items.items() if given.shapes.shape[1]]
    free = [name for name in names if None in wanted.get(name, ())[1:2]]
    return next(iter(free or names), None)


def _made_mask(
    items: Mapping[str, Items], found: Mapping[str, Rows], how: Sequences, name: str | None
) -> Rows:
    """The mask of this input; of single values if None."""
    if name is None:
        return np.ones(len(next(iter(found.values()))), np.uint8)
    shape = found[name].shape[:2]
    return _held(_Mask(items[name].shapes[:, 0], shape, how.mask_marks == "values"))


def _length(
    shape: Sequence[int | None] | None, shapes: npt.NDArray[np.int64], how: Sequences
) -> int:
    """To what length samples are brought."""
    if how.length is not None:
        return how.length
    longest = max(int(shapes[:, 0].max()), 1)
    if shape is None or len(shape) != shapes.shape[1] + 1 or shape[1] is None:
        return longest
    # Longer ones are not cut where nobody says so: the shapes do not fit, and that is told.
    return max(int(shape[1]), longest)


def _unlike(name: str, shapes: npt.NDArray[np.int64], where: str) -> DataError:
    other = int(np.argmax((shapes[:, 1:] != shapes[0, 1:]).any(axis=1)))
    return DataError(
        f"{name} has shape {tuple(shapes[other].tolist())} in sample {other}, "
        f"{tuple(shapes[0].tolist())} in sample 0",
        where,
        "samples may differ in their first axis only",
    )


def _no_mask(name: str, lengths: npt.NDArray[np.int64], length: int, where: str) -> DataError:
    least, most = int(lengths.min()), int(lengths.max())
    told = f"{least}" if least == most else f"{least} to {most}"
    return DataError(
        f"{name} is {told} long, is to be {length}, and no input of the network is a mask",
        where,
        "give samples of one length, name the mask in data.toml ([sequences], mask), or say what "
        "to fill up with (pad)",
    )


def _other_lengths(
    name: str, lengths: npt.NDArray[np.int64], others: npt.NDArray[np.int64], where: str
) -> DataError:
    sample = int(np.argmax(lengths != others))
    return DataError(
        f"{name} is {others[sample]} long in sample {sample}, another input {lengths[sample]}",
        where,
        "one mask tells one length: fill up the samples yourself",
    )
