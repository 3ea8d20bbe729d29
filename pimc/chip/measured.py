"""Measured cells: a CSV of conductances becomes the levels and σ(G) of a chip file."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pimc.chip.design import SCHEMA, Chip
from pimc.errors import ChipError, DataError
from pimc.files.kinds.reading import read_as
from pimc.files.memory_map import require_regular
from pimc.files.strict import parse_toml

__all__ = ["MeasuredLevel", "Measurement"]

_LABELS = ("level", "target_us")
_SAMPLES, _TRIPLES = ("g_us",), ("mean_us", "sigma_us")
_DIGITS = 6

Row = tuple[float, ...]


@dataclass(frozen=True)
class MeasuredLevel:
    """What cells conduct that were asked to hold one level.

    Attributes:
        name: what they were asked for: ``level 3`` or ``target 20 µS``.
        mean_us, sigma_us: mean and sample standard deviation.
        samples_us: the conductances themselves; none where only mean and σ were given.
    """

    name: str
    mean_us: float
    sigma_us: float
    samples_us: npt.NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True)
class Measurement:
    """The measured levels, by increasing conductance."""

    levels: tuple[MeasuredLevel, ...]
    source: str

    @staticmethod
    @read_as("measured")
    def load(path: str | Path) -> Measurement:
        """Read a CSV file with a header.

        Its columns are ``level,g_us``, a row a sample, or ``level,mean_us,sigma_us``, a row a
        level; ``target_us`` may stand for ``level``.

        Raises:
            DataError: no such file, other columns, a row that is no numbers, levels that are
                missing, given twice or not in order, or samples too few for a spread.
        """
        where = str(path)
        try:
            require_regular(path)
            with Path(path).open(newline="", encoding="utf-8-sig") as stream:
                reader = csv.reader(stream)
                header = tuple(cell.strip() for cell in next(reader, []))
                values = _values_of(header, where)
                rows = [_row(row, header, f"{where}:{reader.line_num}") for row in reader if row]
        except (OSError, UnicodeDecodeError, csv.Error) as cause:
            reason = cause.strerror if isinstance(cause, OSError) else "it is no CSV text"
            raise DataError(f"cannot be read: {reason}", where=where) from cause
        groups: dict[float, list[Row]] = {}
        for label, *numbers in rows:
            groups.setdefault(label, []).append(tuple(numbers))
        if header[0] == "level":
            _check_numbers(sorted(groups), where)
        form = "level {:g}" if header[0] == "level" else "target {:g} µS"
        make = _sampled if values == _SAMPLES else _given
        levels = tuple(make(form.format(label), groups[label], where) for label in sorted(groups))
        _check_order(levels, where)
        return Measurement(levels, Path(path).name)

    def toml(self, name: str) -> str:
        """The text of a chip file called ``name`` with these levels and this σ(G).

        Raises:
            ChipError: no chip file can hold that.
        """
        means = [float(f"{one.mean_us:.{_DIGITS}g}") for one in self.levels]
        sigmas = [float(f"{one.sigma_us:.{_DIGITS}g}") for one in self.levels]
        samples = sum(len(one.samples_us) for one in self.levels)
        count = f"{samples:,} samples" if samples else "means and standard deviations"
        text = f"""\
# Levels and programming error as measured. All else was not measured: fill it in, see docs/chip.md.
schema = {SCHEMA}
name = {_quoted(name)}
description = "{len(means)} levels, measured: {count}"
source = {_quoted(self.source)}

[array]
rows = 128
cols = 128

[cell]
levels = {len(means)}
g_min_us = {means[0]}
g_max_us = {means[-1]}
spacing = "table"
g_levels_us = {means}

[cell.sigma]
kind = "table"
g_us = {means}
table_us = {sigmas}
"""
        Chip.from_dict(parse_toml(text.encode(), name, ChipError), name)
        return text


def _quoted(text: str) -> str:
    """A TOML string; bytes of a file name that are no text become question marks."""
    plain = text.encode("utf-8", "replace").decode()
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")


def _values_of(header: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The columns after the first, of a header that is one of the two forms."""
    if header[:1] not in [(label,) for label in _LABELS] or header[1:] not in (_SAMPLES, _TRIPLES):
        raise DataError(
            f"the first line is {','.join(header) or 'empty'}",
            where=where,
            hint="write level,g_us or level,mean_us,sigma_us (or target_us in place of level)",
        )
    return header[1:]


def _row(row: Sequence[str], header: tuple[str, ...], where: str) -> Row:
    try:
        numbers = tuple(float(cell) for cell in row)
    except ValueError:
        numbers = ()
    if len(numbers) != len(header) or not all(0 <= number < math.inf for number in numbers):
        raise DataError(
            f"not {','.join(header)}: {','.join(row)}",
            where=where,
            hint="write numbers, 0 or more",
        )
    return numbers


def _check_numbers(labels: Sequence[float], where: str) -> None:
    for label, following in itertools.pairwise([*labels, math.inf]):
        if label != int(label):
            raise DataError(f"level {label} is no whole number", where=where)
        if label + 1 != following < math.inf:
            raise DataError(
                f"level {label + 1:.0f} is missing", where=where, hint="measure every level"
            )


def _sampled(name: str, rows: Sequence[Row], where: str) -> MeasuredLevel:
    samples = np.array([row[0] for row in rows])
    if len(samples) < 2:
        raise DataError(
            f"{name} has one sample", where=where, hint="a spread needs two, better hundreds"
        )
    return MeasuredLevel(name, float(samples.mean()), float(samples.std(ddof=1)), samples)


def _given(name: str, rows: Sequence[Row], where: str) -> MeasuredLevel:
    if len(rows) > 1:
        raise DataError(f"{name} is given {len(rows)} times", where=where, hint="give it once")
    mean_us, sigma_us = rows[0]
    return MeasuredLevel(name, mean_us, sigma_us, np.zeros(0))


def _check_order(levels: Sequence[MeasuredLevel], where: str) -> None:
    if len(levels) < 2:
        raise DataError("holds fewer than two levels", where=where, hint="measure every level")
    for low, high in itertools.pairwise(levels):
        if low.mean_us >= high.mean_us:
            raise DataError(
                f"the mean of {high.name}, {high.mean_us:g} µS, is not above that of "
                f"{low.name}, {low.mean_us:g} µS",
                where=where,
                hint="levels must conduct more the higher they are",
            )
