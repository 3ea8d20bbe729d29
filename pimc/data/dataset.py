"""Calibration and labelled data: stored values, and how they become the network's input.

Values stay as they are stored (bytes, or a mapped file) and are converted a batch at a
time. The formats and the keys of ``data.toml`` stand in ``docs/data.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pimc.data.layout import (
    Preprocess,
    Shape,
    channel_axis,
    check_channels,
    check_input,
    network_shape,
    settled,
)
from pimc.data.read import Stored, find_source, read_source
from pimc.errors import DataError
from pimc.files.kinds.reading import read_as
from pimc.files.strict import read_table, read_toml

__all__ = ["Dataset", "Preprocess", "Role", "Shape", "load_data"]

Role = Literal["calib", "test"]

_SCAN_VALUES = 1 << 22
#: A float32, so that narrower data are compared as float32: as float16 it would be infinite.
_FLOAT32_MAX = np.finfo(np.float32).max


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples as they are stored, with their preprocessing.

    Make one with :meth:`of` or :func:`load_data`, which check what they are given.

    Attributes:
        x: stored values, samples first.
        y: int64 class numbers (N,), or None.
        preprocess: the conversion, with its layout settled.
        name: for messages and reports; no folder of this machine.
        captures: capture files found beside the data.
        others: what else is known of the samples, by name: targets that are no class numbers.
    """

    x: npt.NDArray[Any]
    y: npt.NDArray[np.int64] | None
    preprocess: Preprocess
    name: str = "data"
    captures: tuple[Path, ...] = ()
    others: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        x: npt.ArrayLike,
        y: npt.ArrayLike | None = None,
        *,
        preprocess: Preprocess | None = None,
        name: str = "data",
        input_shape: Shape | None = None,
        targets: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> Dataset:
        """A checked dataset from arrays.

        Args:
            x: samples first; any real numbers.
            y: class numbers (N,), integers from 0, or None.
            preprocess: as stored when None.
            name: named in errors.
            input_shape: the model's input with its batch axis, None for a free axis; not
                checked when None.
            targets: other values that tasks need, samples first.

        Raises:
            DataError: no samples, no numbers, NaN or infinity (also after preprocessing), labels
                that do not fit, or a shape that the preprocessing or the model cannot take.
        """
        stored = np.asanyarray(x)
        _check_values(stored, name)
        options = settled(preprocess or Preprocess(), stored.shape, name)
        if input_shape is not None:
            check_input(stored.shape, options.layout, input_shape, name)
        check_channels(options, stored.shape, name)
        labels = _labels(y, len(stored), name)
        data = cls(stored, labels, options, name, others=_others(targets or {}, len(stored), name))
        _check_converted(data)
        return data

    def __len__(self) -> int:
        return len(self.x)

    @property
    def targets(self) -> Mapping[str, npt.NDArray[Any]]:
        """What is known of the samples beside their inputs, by name; class numbers under ``y``."""
        return self.others if self.y is None else {"y": self.y, **self.others}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample as the network gets it."""
        return network_shape(self.x.shape, self.preprocess.layout)[1:]

    @property
    def is_prepared(self) -> bool:
        """Whether samples are stored as the network gets them: float32, nothing to convert."""
        options = self.preprocess
        as_stored = options.layout != "NHWC" and self.x.shape[1:] == self.sample_shape
        plain = options.scale == 1 and not any(options.mean) and set(options.std) == {1.0}
        return as_stored and plain and self.x.dtype == np.float32

    def batch(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Samples ``start`` to ``stop`` (not included) as the network's input.

        Returns:
            Contiguous float32 (n, *sample_shape); fewer samples where the data end.
        """
        return self._converted(self.x[start:stop])

    def _converted(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        options = self.preprocess
        if options.layout == "NHWC":
            values = values.transpose(0, 3, 1, 2)
        values = values.reshape(len(values), *self.sample_shape)
        # float32 for what it holds exactly, float64 for wider stored types, rounded once.
        values = values.astype(np.result_type(values.dtype, np.float32))
        values /= values.dtype.type(options.scale)
        values -= self._by_channel(options.mean, values)
        values /= self._by_channel(options.std, values)
        return np.ascontiguousarray(values, dtype=np.float32)

    def all(self) -> npt.NDArray[np.float32]:
        """All samples as the network's input."""
        return self.batch(0, len(self))

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
        labels = None if self.y is None else self.y[chosen]
        others = {name: values[chosen] for name, values in self.others.items()}
        return replace(self, x=self.x[chosen], y=labels, others=others)

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

        Raises:
            DataError: one of the parts would be empty.
        """
        count = round(fraction * len(self)) if 0 < fraction < 1 else 0
        if not 0 < count < len(self):
            raise DataError(
                f"{len(self)} samples cannot be split at {fraction:g}",
                self.name,
                "give more samples, or a fraction between 0 and 1",
            )
        order = rng.permutation(len(self))
        return np.sort(order[:count]), np.sort(order[count:])

    def _by_channel(
        self, values: tuple[float, ...], like: npt.NDArray[Any]
    ) -> npt.NDArray[np.floating[Any]]:
        axis = channel_axis(self.preprocess.layout)
        shape = [1] * like.ndim
        shape[axis or 0] = len(values)
        return np.asarray(values, dtype=like.dtype).reshape(shape)


@read_as("data")
def load_data(
    path: str | Path,
    *,
    overrides: Mapping[str, object] | None = None,
    input_shape: Shape | None = None,
    role: Role = "calib",
) -> Dataset:
    """Read DATA: a file, an image folder, or a folder that holds one of these.

    Args:
        path: ``.npz``, ``.npy``, IDX ``.gz``, or a folder.
        overrides: keys of ``data.toml`` that take precedence over it; None values are skipped.
        input_shape: the model's input shape with its batch axis, None for a free axis.
        role: which file of a folder is meant: ``calib.npz`` or ``test.npz`` come first.

    Raises:
        DataError: with the path, what is wrong and how to mend it.
    """
    source = find_source(Path(path), role)
    options = _preprocess(source.folder / "data.toml", overrides or {})
    stored: Stored = read_source(source, options.size, _channels(input_shape))
    if stored.layout is not None:
        options = replace(options, layout=stored.layout)
    others, y = dict(stored.others), stored.y
    if y is not None and (y.dtype.kind == "f" or (y.dtype.kind in "iub" and y.ndim > 1)):
        others["y"], y = y, None  # a target of another task than classification
    data = Dataset.of(
        stored.x,
        y,
        preprocess=options,
        name=str(source.path),
        input_shape=input_shape,
        targets=others,
    )
    return replace(data, name=source.path.name, captures=source.captures)


def _preprocess(path: Path, overrides: Mapping[str, object]) -> Preprocess:
    given = {name: value for name, value in overrides.items() if value is not None}
    from_file = read_toml(path, DataError) if path.exists() else {}
    merged: dict[str, Any] = {}
    for raw, where in ((from_file, str(path)), (given, "options")):
        listed = {
            name: [value] if name in ("mean", "std") and np.isscalar(value) else value
            for name, value in raw.items()
        }
        values, problems = read_table(Preprocess, listed)
        if problems:
            raise DataError("; ".join(problems), where=where, hint="the keys are in docs/data.md")
        merged |= {name: values[name] for name in raw}
    return Preprocess(**merged)


def _channels(input_shape: Shape | None) -> int | None:
    return input_shape[1] if input_shape is not None and len(input_shape) == 4 else None


def _check_values(x: npt.NDArray[Any], where: str) -> None:
    if x.dtype.kind not in "biuf":
        raise DataError(f"x holds {x.dtype}, not real numbers", where, "save numbers")
    if x.ndim == 0 or x.size == 0:
        raise DataError(f"holds no samples: x has shape {x.shape}", where, "give at least one")
    if x.dtype.kind != "f":
        return
    step = max(1, _SCAN_VALUES // max(1, x.size // len(x)))
    for start in range(0, len(x), step):
        part = x[start : start + step]
        bad = ~(np.abs(part) <= _FLOAT32_MAX)
        if bad.any():
            sample = start + int(np.argwhere(bad)[0, 0])
            raise DataError(
                f"NaN, infinity or a value beyond float32 in x, first in sample {sample}",
                where,
                "clean the data",
            )


def _check_converted(data: Dataset) -> None:
    """Check that the preprocessing keeps the data within float32."""
    # Every step of it is monotonic: where both ends stay finite in every channel, all does.
    ends = np.empty((2, *data.x.shape[1:]), data.x.dtype)
    ends[0], ends[1] = data.x.min(), data.x.max()
    with np.errstate(all="ignore"):
        if np.isfinite(data._converted(ends)).all():
            return
        step = max(1, _SCAN_VALUES // ends[0].size)
        for start in range(0, len(data), step):
            bad = ~np.isfinite(data._converted(data.x[start : start + step]))
            if bad.any():
                options = data.preprocess
                raise DataError(
                    f"scale {options.scale:g}, mean {list(options.mean)} and std "
                    f"{list(options.std)} make NaN or infinity of x, first in sample "
                    f"{start + int(np.argwhere(bad)[0, 0])}",
                    data.name,
                    "correct scale, mean and std, in data.toml or the options",
                )


def _labels(y: npt.ArrayLike | None, samples: int, where: str) -> npt.NDArray[np.int64] | None:
    if y is None:
        return None
    labels = np.asarray(y)
    if labels.dtype.kind not in "iu":
        hint = "save y as integers, e.g. y.astype(numpy.int64)"
        raise DataError(f"y holds {labels.dtype}, not whole numbers", where, hint)
    if labels.shape != (samples,):
        hint = "y holds one class number a sample"
        raise DataError(f"x has {samples} samples, y has shape {labels.shape}", where, hint)
    labels = labels.astype(np.int64)
    if labels.min() < 0:
        raise DataError("y holds negative class numbers", where, "count the classes from 0")
    return labels


def _others(
    given: Mapping[str, npt.NDArray[Any]], samples: int, where: str
) -> Mapping[str, npt.NDArray[Any]]:
    for name, values in given.items():
        if values.dtype.kind not in "biuf":
            raise DataError(f"{name} holds {values.dtype}, not real numbers", where, "save numbers")
        if values.shape[:1] != (samples,):
            shape = f"x has {samples} samples, {name} has shape {values.shape}"
            raise DataError(shape, where, f"{name} holds an entry a sample")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise DataError(f"NaN or infinity in {name}", where, "clean the data")
    return given
