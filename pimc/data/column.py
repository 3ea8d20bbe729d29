"""The values of one input: as they are stored, and how they become what the network gets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.data.inputs import Input
from pimc.data.layout import (
    Preprocess,
    channel_axis,
    check_channels,
    check_input,
    network_shape,
    settled,
)
from pimc.data.rows import Rows, chunks, flattened, picked, repeated
from pimc.errors import DataError

__all__ = ["Column", "is_stepped"]

_SCAN_VALUES = 1 << 22
#: A float32, so that narrower data are compared as float32: as float16 it would be infinite.
_FLOAT32_MAX = np.finfo(np.float32).max
_FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True, eq=False)
class Column:
    """Values of one input, samples first, with their preprocessing.

    Attributes:
        stored: as they are stored.
        how: the conversion, with its layout settled.
        dtype: of what the network gets.
        shared: there is a single value, for all samples.
        called: what the values are called in messages.
        stepped: the second axis is that of the steps of a sequence.
    """

    stored: Rows = field(repr=False)
    how: Preprocess
    dtype: np.dtype[Any] = _FLOAT32
    shared: bool = False
    called: str = "x"
    stepped: bool = False

    @staticmethod
    def of(
        stored: Rows,
        how: Preprocess,
        where: str,
        called: str = "x",
        wanted: Input | None = None,
        stepped: bool = False,
    ) -> Column:
        """Checked values.

        Args:
            wanted: the input that they are for, where it is known.
            stepped: of sequences, with an axis of steps.

        Raises:
            DataError: no samples, no numbers, NaN or infinity (also after preprocessing), or a
                shape that the preprocessing cannot take.
        """
        low, high = _ends(stored, where, called)
        shape = _of_a_step(stored.shape) if stepped else stored.shape
        how = settled(how, shape, where)
        if wanted is not None:
            check_input(shape, how.layout, wanted.shape, where)
        check_channels(how, shape, where)
        column = Column(stored, how, called=called, stepped=stepped)
        column._check_converted(low, high, where)
        return column

    @staticmethod
    def same_for_all(stored: Rows, where: str, called: str) -> Column:
        """A single value that all samples share; it may be stored once for each of them.

        Raises:
            DataError: it is no finite number, or not the same for all samples.
        """
        values = np.asarray(stored[...])
        if values.ndim > 1 or not values.size or (values != values.flat[0]).any():
            raise DataError(
                f"the network takes a single {called} for all samples, the data give "
                f"{list(values.shape)}",
                where,
                f"give {called} as one number",
            )
        value = values.reshape(-1)[0].reshape(())
        _ends(value.reshape(1), where, called)
        return Column(value, Preprocess(layout="any"), value.dtype, shared=True, called=called)

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample as the network gets it."""
        if self.shared:
            return ()
        if not self.stepped:
            return network_shape(self.stored.shape, self.how.layout)[1:]
        return (self.stored.shape[1], *network_shape(self._shape, self.how.layout)[1:])

    @property
    def _shape(self) -> tuple[int, ...]:
        """Of what is stored for the network at once, samples first."""
        return _of_a_step(self.stored.shape) if self.stepped else self.stored.shape

    @property
    def is_plain(self) -> bool:
        """Whether nothing is to be computed of what is stored."""
        how = self.how
        return how.scale == 1 and not any(how.mean) and set(how.std) == {1.0}

    @property
    def is_prepared(self) -> bool:
        """Whether samples lie in memory as the network gets them."""
        if self.shared:
            return self.stored.dtype == self.dtype
        as_stored = self.how.layout != "NHWC" and self.stored.shape[1:] == self.sample_shape
        held = isinstance(self.stored, np.ndarray)
        return as_stored and held and self.is_plain and self.stored.dtype == self.dtype

    def fitted(self, wanted: Input, where: str) -> Column:
        """The same for an input of a network, in the type that it takes.

        Raises:
            DataError: another shape, or values that samples do not share as the network has it.
        """
        if not wanted.shape:
            alone = self if self.shared else Column.same_for_all(self.stored, where, self.called)
            return replace(alone, dtype=wanted.dtype)
        if self.shared:
            raise DataError(
                f"{self.called} is a single value, the network takes one for each sample",
                where,
                f"give {self.called} with its samples first",
            )
        check_input(self._shape, self.how.layout, wanted.shape, where)
        return replace(self, dtype=wanted.dtype)

    def in_steps(self, wanted: Input) -> Column:
        """The same, with an axis of steps where there is one axis more than the input has."""
        if self.shared or self.stepped:
            return self
        return replace(self, stepped=is_stepped(self.stored, self.how, wanted))

    def apart(self, steps: int) -> Column:
        """A sample for each of so many steps of every sequence."""
        if self.shared:
            return self
        if not self.stepped:
            return replace(self, stored=repeated(self.stored, steps))
        return replace(self, stored=flattened(self.stored), stepped=False)

    def fits(self, wanted: Input) -> bool:
        """Whether these are values for an input already, in the type that it takes."""
        shape = () if self.shared else (None, *self.sample_shape[self.stepped :])
        return (
            self.dtype == wanted.dtype
            and len(shape) == len(wanted.shape)
            and all(
                want in (None, have) for have, want in zip(shape[1:], wanted.shape[1:], strict=True)
            )
        )

    def picked(self, places: npt.NDArray[np.int64]) -> Column:
        """The samples at ``places``."""
        return self if self.shared else replace(self, stored=picked(self.stored, places))

    def batch(self, start: int, stop: int, where: str) -> npt.NDArray[Any]:
        """Samples ``start`` to ``stop`` (not included) as the network gets them, contiguous.

        Raises:
            DataError: the network takes whole numbers, and these are none, or beyond its type.
        """
        if self.shared:
            return self._typed(np.array(self.stored), where)
        return self._typed(self._converted(np.asarray(self.stored[start:stop])), where)

    def _typed(self, values: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
        if self.dtype.kind == "f" or values.dtype == self.dtype:
            return np.asarray(values, self.dtype, order="C")
        with np.errstate(invalid="ignore"):
            found = np.asarray(values, self.dtype, order="C")
        if not (found == values).all():
            raise DataError(
                f"{self.called} holds values that are no {self.dtype}, as the network takes them",
                where,
                "give the numbers themselves, without scale, mean and std",
            )
        return found

    def _converted(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values in the network's order of axes, and of what type they are computed in."""
        if self.stepped:
            alone = replace(self, stored=values[:, 0], stepped=False)
            return alone._converted(values.reshape(-1, *values.shape[2:])).reshape(
                len(values), *self.sample_shape
            )
        if self.how.layout == "NHWC":
            values = values.transpose(0, 3, 1, 2)
        values = values.reshape(len(values), *self.sample_shape)
        if self.is_plain and self.dtype.kind != "f":
            return values
        # float32 for what it holds exactly, float64 for wider stored types, rounded once.
        values = values.astype(np.result_type(values.dtype, np.float32))
        values /= values.dtype.type(self.how.scale)
        values -= self._by_channel(self.how.mean, values)
        values /= self._by_channel(self.how.std, values)
        return values

    def _by_channel(
        self, values: tuple[float, ...], like: npt.NDArray[Any]
    ) -> npt.NDArray[np.floating[Any]]:
        shape = [1] * like.ndim
        shape[channel_axis(self.how.layout) or 0] = len(values)
        return np.asarray(values, dtype=like.dtype).reshape(shape)

    def _check_converted(self, low: Any, high: Any, where: str) -> None:
        """Check that the preprocessing keeps the data within float32."""
        # Every step of it is monotonic: where both ends stay finite in every channel, all does.
        ends = np.empty((2, *self.stored.shape[1:]), self.stored.dtype)
        ends[0], ends[1] = low, high
        with np.errstate(all="ignore"):
            if np.isfinite(self._in_float32(ends)).all():
                return
            for start, part in chunks(self.stored, _SCAN_VALUES * ends.itemsize):
                bad = ~np.isfinite(self._in_float32(part))
                if bad.any():
                    how = self.how
                    raise DataError(
                        f"scale {how.scale:g}, mean {list(how.mean)} and std {list(how.std)} make "
                        f"NaN or infinity of {self.called}, first in sample "
                        f"{start + int(np.argwhere(bad)[0, 0])}",
                        where,
                        "correct scale, mean and std, in data.toml or the options",
                    )

    def _in_float32(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return np.asarray(self._converted(values), np.float32)


def is_stepped(stored: Rows, how: Preprocess, wanted: Input | None) -> bool:
    """Whether values for an input have one axis more than it takes: that of steps."""
    if wanted is None or not wanted.shape:
        return False
    added = how.layout == "NHW"  # the network gets an axis of channels, too
    return len(stored.shape) + added == len(wanted.shape) + 1


def _of_a_step(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A stored shape without its axis of steps."""
    return (shape[0], *shape[2:])


def _ends(stored: Rows, where: str, called: str) -> tuple[Any, Any]:
    """The least and the largest value; of whole numbers that lie in no memory, of their type.

    Raises:
        DataError: no samples, no numbers, NaN or infinity.
    """
    dtype, shape = stored.dtype, stored.shape
    if dtype.kind not in "biuf":
        raise DataError(f"{called} holds {dtype}, not real numbers", where, "save numbers")
    if not shape or 0 in shape:
        raise DataError(f"holds no samples: {called} has shape {shape}", where, "give at least one")
    if dtype.kind == "b":
        return False, True
    if dtype.kind != "f":
        if isinstance(stored, np.ndarray):
            return stored.min(), stored.max()
        return np.iinfo(dtype).min, np.iinfo(dtype).max
    low, high = [], []
    for start, part in chunks(stored, _SCAN_VALUES * dtype.itemsize):
        bad = ~(np.abs(part) <= _FLOAT32_MAX)
        if bad.any():
            sample = start + int(np.argwhere(bad)[0, 0])
            raise DataError(
                f"NaN, infinity or a value beyond float32 in {called}, first in sample {sample}",
                where,
                "clean the data",
            )
        low.append(part.min())
        high.append(part.max())
    return min(low), max(high)
