"""Sound files: their samples, or the spectra that a named front end makes of them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from pimc.data import rows
from pimc.data.arrays import require_room
from pimc.data.kinds.folders import file_in
from pimc.data.kinds.lines import at, objects, target_rows, targets_in
from pimc.data.kinds.spectra import Spectrum
from pimc.data.kinds.stored import Stored
from pimc.data.rows import LazyRows, Rows
from pimc.errors import DataError
from pimc.files.strict import Rule, setting, settle

__all__ = ["Audio", "read_recordings", "sound_rows"]

_Float = npt.NDArray[np.float32]
#: From here on the number of bytes says that nobody knew it when the file was begun.
_UNKNOWN = 0x7FFF_FF00
#: Orders of the axes of a sample.
_AXES = ("T", "1T", "CT", "TC", "1CT", "1TC", "CT1", "TC1")


@dataclass(frozen=True)
class Audio:
    """How sound becomes what the network gets."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "axes",
            lambda a: a.axes == "auto" or ("C" in a.axes) == (a.front_end != "waveform"),
            "must name C for a front end that has channels, and not for a waveform",
        ),
        Rule(
            "coefficients",
            lambda a: a.front_end != "mfcc" or a.coefficients <= a.mels,
            "must not be more than mels",
        ),
        Rule(
            "f_max_hz",
            lambda a: a.f_max_hz is None or a.f_max_hz > a.f_min_hz,
            "must be above f_min_hz",
        ),
    )

    key: str = setting("audio", "str", "key of the file in JSON lines")
    front_end: str = setting(
        "waveform",
        "str",
        "what the network gets of a sound",
        choices=("waveform", "log-mel", "mfcc"),
    )
    rate: int | None = setting(
        None, "int", "samples a second; files of another rate are refused", low=1, high=1_000_000
    )
    seconds: float | None = setting(
        None,
        "float",
        "longer sounds are cut, shorter ones filled up with silence",
        above=0,
        high=3600,
    )
    window_ms: float = setting(25.0, "float", "length of a window", above=0, high=10_000)
    hop_ms: float = setting(10.0, "float", "from one window to the next", above=0, high=10_000)
    fft: int | None = setting(
        None,
        "int",
        "length of a Fourier transform; else the next power of two from the window on",
        low=2,
        high=1 << 20,
    )
    power: float = setting(2.0, "float", "exponent of the magnitudes", choices=(), low=1, high=2)
    mels: int = setting(40, "int", "mel bands", low=1, high=1024)
    coefficients: int = setting(13, "int", "cepstral coefficients of `mfcc`", low=1, high=1024)
    f_min_hz: float = setting(0.0, "float", "where the lowest band begins", low=0)
    f_max_hz: float | None = setting(
        None, "float", "where the highest band ends; else half the rate", above=0
    )
    centred: bool = setting(
        True, "bool", "whether the sound is mirrored at its ends, so that windows lie around them"
    )
    floor: float = setting(1e-6, "float", "added before the logarithm", above=0)
    axes: str = setting(
        "auto",
        "str",
        "of a sample: T is time, C bands or coefficients, 1 an axis of one; auto is T or CT",
        choices=("auto", *_AXES),
    )

    def __post_init__(self) -> None:
        if problems := settle(self):
            raise DataError("; ".join(problems), where="audio")


def sound_rows(files: Sequence[Path], how: Audio) -> Rows:
    """What a front end makes of files, float32 (N, …); of many it is made when it is asked for.

    Raises:
        DataError: a file cannot be read, or has another rate or length than the first.
    """
    first, rate = _sound(files[0], how)
    shape = _made(first, rate, how, files[0]).shape
    lazy = _Sounds(tuple(files), how, (len(files), *shape), rate)
    size = 4 * int(np.prod(lazy.shape, dtype=object))
    return lazy if size > rows.HELD_BYTES else lazy[:]


def read_recordings(path: Path, name: str, how: Audio, classes: Sequence[str] = ()) -> Stored:
    """The sounds that JSON lines name, with their targets: words of a recording under ``y``.

    Args:
        path: the lines; files lie in its folder, or in folders there.
        name: of the network's input.
        classes: names that labels may have.

    Raises:
        DataError: a line that is no sample, or a file that cannot be read.
    """
    files, targets = [], []
    for number, entry in objects(path):
        files.append(file_in([path.parent], entry, how.key, at(path, number)))
        targets.append(targets_in(entry, (how.key,), at(path, number), classes=classes))
    if not files:
        raise DataError("holds no samples", str(path), "give an object a line")
    return Stored({name: sound_rows(files, how)}, target_rows(targets, str(path)))


@dataclass(frozen=True, eq=False)
class _Sounds(LazyRows):
    """Sounds that are read when they are asked for."""

    files: tuple[Path, ...] = field(repr=False)
    how: Audio
    shape: tuple[int, ...]
    rate: int

    dtype = np.dtype(np.float32)

    def rows(self, places: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The sounds at ``places``.

        Raises:
            DataError: one cannot be read, or has another rate or length than the first.
        """
        found = np.empty((len(places), *self.shape[1:]), np.float32)
        for number, place in enumerate(places.tolist()):
            file = self.files[place]
            values, rate = _sound(file, self.how)
            if rate != self.rate:
                raise _other_rate(file, rate, self.rate)
            one = _made(values, rate, self.how, file)
            if one.shape != self.shape[1:]:
                raise DataError(
                    f"makes {one.shape}, {self.files[0].name} {self.shape[1:]}",
                    str(file),
                    "state seconds in data.toml, [audio]",
                )
            found[number] = one
        return found


def _sound(file: Path, how: Audio) -> tuple[_Float, int]:
    """Samples of a file from −1 to 1, channels averaged, and its rate."""
    from scipy.io import wavfile

    try:
        content = file.read_bytes()
        if not _is_whole(content):
            raise ValueError("it is truncated")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells of parts that it does not know
            rate, values = wavfile.read(io.BytesIO(content))
        rate, values = int(rate), _mono(np.asarray(values))
    except Exception as cause:
        raise DataError(f"is no readable sound: {cause}", str(file), "give a .wav file") from cause
    if not values.size or not np.isfinite(values).all():
        wrong = "NaN or infinity" if values.size else "no samples"
        raise DataError(f"holds {wrong}", str(file), "mend it or take it out")
    if how.rate is not None and rate != how.rate:
        raise _other_rate(file, rate, how.rate)
    return values, rate


def _is_whole(content: bytes) -> bool:
    """Whether a file holds as many samples as it says; of streams it says the largest number."""
    order: Literal["big", "little"] = "big" if content[:4] == b"RIFX" else "little"
    place = 12
    while place + 8 <= len(content):
        size = int.from_bytes(content[place + 4 : place + 8], order)
        if content[place : place + 4] == b"data":
            return place + 8 + size <= len(content) or size >= _UNKNOWN
        place += 8 + size + size % 2
    return True


def _mono(values: npt.NDArray[Any]) -> _Float:
    """Samples as they are stored, (N,) or (N, channels), from −1 to 1, channels averaged."""
    if values.dtype.kind == "u":
        values = values.astype(np.float32) / 128 - 1
    elif values.dtype.kind == "i":
        values = values / float(-np.iinfo(values.dtype).min)
    with np.errstate(all="ignore"):  # what is not finite is refused
        found = values.astype(np.float32)
        return found if found.ndim == 1 else np.asarray(found.mean(axis=1))


def _other_rate(file: Path, rate: int, wanted: int) -> DataError:
    return DataError(
        f"has {rate} samples a second, not {wanted}", str(file), "bring all files to one rate"
    )


def _made(values: _Float, rate: int, how: Audio, file: Path) -> _Float:
    """What the front end makes of samples, with its axes in order."""
    try:
        if how.seconds is not None:
            length = max(round(how.seconds * rate), 1)
            require_room((length,), values.dtype)
            values = np.pad(values[:length], (0, max(length - len(values), 0)))
        made = values[None] if how.front_end == "waveform" else _spectrum(how, rate)(values)
    except ValueError as cause:
        raise DataError(str(cause), str(file), "see [audio] in docs/data.md") from cause
    usual = "T" if how.front_end == "waveform" else "CT"
    return _arranged(made, usual if how.axes == "auto" else how.axes)


def _arranged(made: _Float, axes: str) -> _Float:
    """Channels and time, (C, T), in the order of ``axes``."""
    order = axes.replace("1", "")
    turned = made[0] if order == "T" else made.T if order == "TC" else made
    return turned if order == axes else np.expand_dims(turned, axes.index("1"))


def _spectrum(how: Audio, rate: int) -> Spectrum:
    window = max(round(how.window_ms * rate / 1000), 1)
    return Spectrum(
        rate=rate,
        window=window,
        hop=max(round(how.hop_ms * rate / 1000), 1),
        fft=how.fft or 1 << max(window - 1, 1).bit_length(),
        power=how.power,
        mels=how.mels,
        f_min_hz=how.f_min_hz,
        f_max_hz=rate / 2 if how.f_max_hz is None else how.f_max_hz,
        centred=how.centred,
        floor=how.floor,
        coefficients=how.coefficients if how.front_end == "mfcc" else None,
    )
