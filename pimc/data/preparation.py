"""Whether inputs are prepared as others were, told by what the network gets, and what went wrong.

Two settings may give the same inputs (bytes over 255, or shares as they are), so it is the inputs
that are compared: their range, and mean and spread by channel. What went wrong is guessed from what
each usual mistake would make of the right inputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pimc.data.layout import Preprocess

__all__ = ["LOOKED_AT", "Prepared", "Statistics", "some_of", "unlike"]

#: Samples that are looked at.
LOOKED_AT = 256
#: Digits that are kept: the order in which a processor adds shows in none of them.
_DIGITS = 4
#: Channels that are looked at one by one; more are features, each with a spread of its own.
_CHANNELS = 4
#: Fewer samples say little of a mean: only values far beyond any that there were count.
_FEW = 16
#: Distance (see :func:`_distance`) from which on inputs are not like the others, and the most that
#: a mistake leaves of it to be named; with few samples, and in the order of channels, a part of it.
_UNLIKE, _LEFT, _PART = 1.0, 0.5, 0.25
#: The same where other settings were given: they say why.
_OTHERWISE = 0.25
#: Times the range of calibration that a value may lie outside of it.
_OUTSIDE = 3.0
#: Standard errors by which the means of channels must differ before their order is doubted.
_SIGMAS = 6.0
_BYTES = 255.0
_CHANNELS_TURNED = (
    "the channels are in another order, it seems: RGB for BGR, or the other way round"
)
_AXES_TURNED = "the axes are in another order, it seems: NHWC for NCHW, or pictures are gray"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """What inputs look like.

    Attributes:
        mean, std: by channel of images; else one each.
        low, high: least and largest value.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: float
    high: float

    @staticmethod
    def of(values: npt.NDArray[Any]) -> Statistics:
        """Statistics of inputs as the network gets them, (samples, …), in four digits."""
        x = np.asarray(values)
        parts = [x[:, number] for number in range(x.shape[1])] if _by_channel(x) else [x]
        met = []
        for part in parts:  # one at a time: float64 takes twice the room of what the network gets
            flat = part.astype(np.float64).reshape(-1)
            met.append((_short(flat.mean()), _short(flat.std())))
        means, spreads = zip(*met, strict=True)
        return Statistics(means, spreads, _short(x.min()), _short(x.max()))


@dataclass(frozen=True)
class Prepared:
    """How other inputs were prepared, and what they looked like.

    Attributes:
        scale, mean, std: what ``data.toml`` said.
        samples: of which the statistics are.
    """

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    samples: int
    statistics: Statistics


class _Guess(NamedTuple):
    """A mistake, and the mean and spread by channel that it would make of the right inputs."""

    name: str
    mean: Array
    std: Array


def some_of(count: int) -> npt.NDArray[np.int64]:
    """Numbers of at most :data:`LOOKED_AT` samples, spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, LOOKED_AT)).astype(np.int64))


def unlike(
    wanted: Prepared, values: npt.NDArray[Any], given: Preprocess | None = None
) -> str | None:
    """What is wrong with inputs, (samples, …), that should be like others; None where nothing is.

    Pictures of another kind are told from those that are prepared otherwise only by how far off
    they are: a mean that lies a standard deviation away, or half or twice the spread. Where they
    were prepared with other settings, a quarter of that.

    Args:
        given: how they were prepared; None where nobody knows.
    """
    met, known = Statistics.of(values), wanted.statistics
    if len(met.mean) != len(known.mean):
        return None
    away = _distance(met, np.asarray(known.mean), np.asarray(known.std))
    room = _OUTSIDE * max(known.high - known.low, 1e-6)
    outside = met.low < known.low - room or met.high > known.high + room
    few = len(values) < _FEW
    if outside or (away > _UNLIKE and not few):
        guess = min(_guesses(wanted), key=lambda one: _distance(met, one.mean, one.std))
        left = max(_LEFT, _PART * away) if few else _LEFT
        named = _distance(met, guess.mean, guess.std) <= left
        why = f"{guess.name}, it seems" if named else _asked(wanted)
        return f"{why} ({_told(met)}; the calibration data had {_told(known)})"
    if few:
        return None
    if given is not None and away > _OTHERWISE and _settings(given) != _settings(wanted):
        return f"{_asked(wanted)} ({_told(met)}; the calibration data had {_told(known)})"
    return _order(wanted, values)


def _guesses(wanted: Prepared) -> Iterator[_Guess]:
    """What each usual mistake would make of inputs like the others."""
    mean, std = np.asarray(wanted.statistics.mean), np.asarray(wanted.statistics.std)
    taken, over = (_each(values, len(mean)) for values in (wanted.mean, wanted.std))
    scale = wanted.scale if wanted.scale != 1 else _BYTES
    # The inputs before they were normalised: what was divided by the scale.
    plain, spread = over * mean + taken, over * std
    divided = f"{'bytes ' if scale == _BYTES else ''}not divided by {scale:g}"
    yield _Guess(divided, (scale * plain - taken) / over, scale * std)
    yield _Guess(f"{divided}, and not normalised", scale * plain, scale * spread)
    yield _Guess(f"divided by {scale:g} twice", (plain / scale - taken) / over, std / scale)
    if np.any(taken != 0) or np.any(over != 1):
        yield _Guess("normalised twice", (mean - taken) / over, std / over)
        yield _Guess("not normalised (mean and std)", plain, spread)


def _order(wanted: Prepared, values: npt.NDArray[Any]) -> str | None:
    """Whether the channels' means tell that channels or axes are in another order."""
    known = np.asarray(wanted.statistics.mean)
    if len(known) < 3:
        return None
    taken, over = (_each(given, len(known)) for given in (wanted.mean, wanted.std))
    each = values.mean(axis=(2, 3), dtype=np.float64)
    each -= each.mean(axis=1, keepdims=True)
    error = math.sqrt(each.var(axis=0).sum() * (1 / len(each) + 1 / wanted.samples))

    def away(mean: Array) -> float:
        return float(np.linalg.norm(each.mean(axis=0) - (mean - mean.mean())))

    if away(known) <= max(_SIGMAS * error, 1e-3):
        return None
    plain = over * known + taken
    guesses = {_CHANNELS_TURNED: plain[::-1], _AXES_TURNED: np.full(len(plain), plain.mean())}
    left = {text: away((mean - taken) / over) for text, mean in guesses.items()}
    best = min(left, key=lambda text: left[text])
    return best if left[best] < _PART * away(known) else None


def _distance(met: Statistics, mean: Array, std: Array) -> float:
    """How far statistics are off: means in standard deviations, spreads in powers of two."""
    least = 1e-6 * max(float(np.abs(mean).max()), 1.0)
    spread = np.maximum(std, least)
    moved = np.abs(np.asarray(met.mean) - mean) / spread
    wider = np.abs(np.log2(np.maximum(met.std, least) / spread))
    return float(np.maximum(moved, wider).max())


def _asked(wanted: Prepared) -> str:
    how = f"scale {wanted.scale:g}, mean {list(wanted.mean)}, std {list(wanted.std)}"
    return f"are they prepared as those were, with {how}?"


def _settings(how: Preprocess | Prepared) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
    return how.scale, tuple(how.mean), tuple(how.std)


def _told(found: Statistics) -> str:
    mean, spread = np.mean(found.mean), np.mean(found.std)
    return f"mean {mean:.3g}, spread {spread:.3g}, {found.low:.3g} to {found.high:.3g}"


def _each(values: Sequence[float], channels: int) -> Array:
    """One value a channel; the mean of all where channels are not told apart."""
    given = np.asarray(values, np.float64)
    return np.full(channels, given.mean()) if len(given) != channels else given


def _by_channel(x: npt.NDArray[Any]) -> bool:
    return x.ndim == 4 and x.shape[1] <= _CHANNELS


def _short(value: float | np.floating[Any]) -> float:
    return float(f"{float(value):.{_DIGITS - 1}e}")
