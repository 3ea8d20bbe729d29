"""A data set: samples, which are mappings from the names of inputs to values.

Values stay as they are stored (bytes, files) and are converted a batch at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.data.checks import array_of, columns_of, is_class_numbers, targets_of
from pimc.data.column import Column
from pimc.data.inputs import Input, named_inputs
from pimc.data.layout import Preprocess, Shape, check_input
from pimc.data.read import Stored
from pimc.data.rows import Rows, picked
from pimc.data.stateful.splits import by_sequence, split_places
from pimc.data.stateful.states import ONLY, States, held_to, placed
from pimc.errors import DataError, UsageError
from pimc.files.container import canonical_json
from pimc.files.writing.atomic import little_endian, sha256_of

__all__ = ["ONLY", "Dataset", "Feed", "checked"]

#: What a network gets: an array an input, by its name.
Feed = dict[str, npt.NDArray[Any]]

#: Samples that are converted together where all are gone through.
_TOGETHER = 64


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples as they are stored, with their preprocessing.

    Make one with :meth:`of` or :func:`load_data`, which check what they are given.

    Attributes:
        columns: the values of each input by its name; ``x`` where no network has said it.
        targets: what is known of the samples by name, samples first; class numbers under ``y``,
            or what another task needs there.
        name: for messages and reports; no folder of this machine.
        unused: names of arrays beside the inputs that do not hold a value for each sample.
        captures: capture files found beside the data.
        classes: names of the classes in the order of their numbers, where they are known.
        states: which output of the network feeds which input, where any does.
        axes: where the network has the batch axis of an input, where that is not the first.
    """

    columns: Mapping[str, Column]
    targets: Mapping[str, Rows] = field(default_factory=dict, repr=False)
    name: str = "data"
    unused: tuple[str, ...] = ()
    captures: tuple[Path, ...] = ()
    classes: tuple[str, ...] = ()
    states: States | None = None
    axes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        y: npt.ArrayLike | None = None,
        *,
        preprocess: Preprocess | Mapping[str, Preprocess] | None = None,
        name: str = "data",
        input_shape: Shape | None = None,
        targets: Mapping[str, npt.ArrayLike] | None = None,
        states: Mapping[str, str] | None = None,
    ) -> Dataset:
        """A checked dataset from arrays.

        Args:
            x: samples first, any real numbers; of several inputs by their names.
            y: class numbers (N,), integers from 0, or None.
            preprocess: as stored when None; of several inputs by their names.
            name: named in errors.
            input_shape: the shape of the model's only input with its batch axis, None for a free
                axis; not checked when None.
            targets: other values that tasks need, samples first.
            states: of a network with a state, the output that feeds an input one step later.

        Raises:
            DataError: no samples, no numbers, NaN or infinity (also after preprocessing), labels
                that do not fit, or a shape that the preprocessing or the model cannot take.
        """
        given = x if isinstance(x, Mapping) else {ONLY: x}
        how = preprocess or {}
        hows = how if isinstance(how, Mapping) else dict.fromkeys(given, how)
        known = {} if y is None else {"y": array_of(y, "y", name)}
        known |= {key: array_of(value, key, name) for key, value in (targets or {}).items()}
        values: Mapping[str, Rows] = {
            key: array_of(value, key, name) for key, value in given.items()
        }
        for one in hows.keys() - given.keys():
            raise DataError(f"there is preprocessing of {one}, which is no input", name)
        data = checked(Stored(values, known), hows, name, states=states)
        if input_shape is not None:
            only = data.only
            check_input(only.stored.shape, only.how.layout, input_shape, name)
        return data

    def __len__(self) -> int:
        return next(len(column) for column in self.columns.values() if not column.shared)

    @property
    def only(self) -> Column:
        """The values of the only input.

        Raises:
            UsageError: there are several.
        """
        if len(self.columns) != 1:
            raise UsageError(
                f"the data have the inputs {', '.join(self.columns)}",
                self.name,
                "ask for one of `columns`, or for a `feed`",
            )
        (column,) = self.columns.values()
        return column

    @property
    def x(self) -> Rows:
        """Stored values of the only input, samples first."""
        return self.only.stored

    @property
    def preprocess(self) -> Preprocess:
        """The conversion of the only input."""
        return self.only.how

    @property
    def y(self) -> npt.NDArray[np.int64] | None:
        """Class numbers (N,); None where there are none, or ``y`` is another task's target."""
        found = self.targets.get("y")
        if found is None or not is_class_numbers(found):
            return None
        return np.asarray(found[:], np.int64)

    labels = y

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample of the only input as the network gets it."""
        return self.only.sample_shape

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample as the network gets it."""
        return sum(
            column.dtype.itemsize * int(np.prod(column.sample_shape))
            for column in self.columns.values()
        )

    @property
    def is_sequential(self) -> bool:
        """Whether the network's states are still to be found, step by step."""
        return self.states is not None and not self.states.apart

    @property
    def is_prepared(self) -> bool:
        """Whether samples lie in memory as the network gets them, with nothing to convert."""
        return not self.axes and all(column.is_prepared for column in self.columns.values())

    def on(self, inputs: Sequence[Any]) -> Dataset:
        """The same data for a network: by the names of its inputs, in the types that it takes.

        Args:
            inputs: what a session's ``get_inputs`` returns, or graph values.

        Raises:
            DataError: there is no value for an input, or one of another shape.
            UsageError: the network does not say the shape of an input.
        """
        wanted, states = named_inputs(inputs), self.states
        sequential = states if states is not None and not states.apart else None
        columns, found = held_to(self.columns, sequential, wanted, self.name)
        axes = {one.name: one.axis for one in wanted if one.axis}
        return replace(self, columns=columns, states=found or states, axes=axes)

    def feed(self, start: int, stop: int) -> Feed:
        """Samples ``start`` to ``stop`` (not included) as the network gets them, by input name.

        Returns:
            Contiguous arrays, samples first (of sequences always, else where the network has them),
            of the types that the network takes (float32 where none is known); fewer samples where
            the data end.

        Raises:
            DataError: a file is gone, or holds what the network cannot take.
        """
        feed = self._samples(start, stop)
        return feed if self.is_sequential else placed(feed, self.axes)

    def _samples(self, start: int, stop: int) -> Feed:
        """:meth:`feed`, samples always first."""
        if len(self.columns) == 1:
            return {next(iter(self.columns)): self.batch(start, stop)}
        return {name: column.batch(start, stop, self.name) for name, column in self.columns.items()}

    def stored(self, start: int, stop: int) -> Feed:
        """Samples as they are stored, by input name: what :meth:`feed` gives of prepared data."""
        return {
            name: np.asarray(column.stored if column.shared else column.stored[start:stop])
            for name, column in self.columns.items()
        }

    def prepared(self, batch_size: int) -> Dataset:
        """The same data, converted once and kept in memory as the network gets them."""
        arrays = {
            name: np.empty((len(self), *column.sample_shape), column.dtype)
            for name, column in self.columns.items()
            if not column.shared
        }
        for start in range(0, len(self), batch_size):
            for name, values in self._samples(start, start + batch_size).items():
                if name in arrays:
                    arrays[name][start : start + batch_size] = values
        columns = {
            name: replace(column, stored=arrays[name], how=Preprocess(layout="any"))
            if name in arrays
            else column
            for name, column in self.columns.items()
        }
        return replace(self, columns=columns)

    def batch(self, start: int, stop: int) -> npt.NDArray[Any]:
        """:meth:`feed` of the only input."""
        return self.only.batch(start, stop, self.name)

    def all(self) -> npt.NDArray[Any]:
        """All samples of the only input as the network gets them."""
        return self.batch(0, len(self))

    def all_inputs(self) -> Feed:
        """All samples as the network gets them, by input name."""
        return self.feed(0, len(self))

    def fingerprint(self) -> str:
        """SHA-256 of all inputs as the network gets them, a part at a time.

        Of one input that of its array (:func:`~pimc.files.writing.atomic.sha256_array`), whatever
        its name.
        """
        digests = {
            name: sha256_of(column.dtype, (len(self), *column.sample_shape))
            for name, column in self.columns.items()
        }
        for start in range(0, len(self), _TOGETHER):
            for name, values in self._samples(start, start + _TOGETHER).items():
                digests[name].update(little_endian(values).data)
        found = {name: digest.hexdigest() for name, digest in digests.items()}
        if self.states is not None:
            found["[states]"] = canonical_json(dict(self.states.feeds))
        if len(found) == 1:
            return next(iter(found.values()))
        return hashlib.sha256(canonical_json(found).encode()).hexdigest()

    def subset(self, indices: npt.ArrayLike) -> Dataset:
        """The samples at ``indices`` (integers, in the order given).

        Raises:
            DataError: no index, or one beyond the data.
        """
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or chosen.size == 0 or chosen.dtype.kind not in "iu":
            raise DataError("a subset needs a list of at least one sample number", self.name)
        if chosen.min() < 0 or chosen.max() >= len(self):
            raise DataError(f"has samples 0 to {len(self) - 1} only", self.name)
        places, states = chosen.astype(np.int64), self.states
        if states is not None and states.apart:  # these are no longer whole sequences
            states = replace(states, steps=None)
        return replace(
            self,
            states=states,
            columns={name: column.picked(places) for name, column in self.columns.items()},
            targets={name: picked(rows, places) for name, rows in self.targets.items()},
        )

    def split(self, fraction: float, rng: np.random.Generator) -> tuple[Dataset, Dataset]:
        """Two random parts without overlap, the first with this fraction of the samples.

        Raises:
            DataError: one of the parts would be empty.
        """
        first, second = self.split_indices(fraction, rng)
        return self.subset(first), self.subset(second)

    def split_indices(
        self, fraction: float, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Which samples the parts of :meth:`split` hold, each in the stored order.

        Steps of one sequence stay together.

        Raises:
            DataError: one of the parts would be empty.
        """
        steps = self.states.steps if self.states is not None and self.states.apart else None
        if steps is not None and steps < len(self) and 0 < fraction < 1:
            return by_sequence(len(self) // steps, steps, fraction, rng)
        return split_places(len(self), fraction, rng, self.name)


def checked(
    stored: Stored,
    hows: Mapping[str, Preprocess],
    where: str,
    wanted: Sequence[Input] = (),
    states: Mapping[str, str] | None = None,
) -> Dataset:
    """The dataset of stored values, every part of it checked."""
    feeds = states or {}
    columns = columns_of(stored.values, hows, wanted, where, feeds)
    targets = targets_of(stored.targets, columns, where)
    data = Dataset(columns, targets, where, states=States(feeds) if feeds else None)
    return data.on(wanted) if wanted else data
