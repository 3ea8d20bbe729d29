"""Mel spectra and cepstral coefficients, as torchaudio defines them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pimc.data.arrays import require_room

__all__ = ["Spectrum"]

_Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spectrum:
    """Logarithms of mel bands, or the cepstral coefficients of them.

    As torchaudio's ``MelSpectrogram`` (``norm=None``, ``mel_scale="htk"``) and ``MFCC``
    (``log_mels=True``) define them, https://docs.pytorch.org/audio/stable/transforms.html: periodic
    Hann windows in the middle of each transform, |X|^power, triangles that are even in hertz
    between points that are even in mel, 2595 log10(1 + f / 700) (D. O'Shaughnessy 1987; the HTK
    book), ln(band + floor), and of these the discrete cosine transform II, orthonormal (S. Davis
    and P. Mermelstein, doi:10.1109/TASSP.1980.1163420).

    Attributes:
        rate: samples a second.
        window, hop, fft: in samples.
        power: exponent of the magnitudes.
        centred: the sound is mirrored at its ends by half a transform.
        coefficients: how many; None for the logarithms themselves.
    """

    rate: int
    window: int
    hop: int
    fft: int
    power: float
    mels: int
    f_min_hz: float
    f_max_hz: float
    centred: bool
    floor: float
    coefficients: int | None

    def __call__(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(bands or coefficients, frames) of samples (N,).

        Raises:
            ValueError: a window longer than the transform, or a sound shorter than one.
        """
        from scipy.fft import dct

        if self.window > self.fft:
            raise ValueError(f"a window of {self.window} samples does not fit an fft of {self.fft}")
        half = self.fft // 2
        least = half + 1 if self.centred else self.fft
        if len(values) < least:
            raise ValueError(f"is {len(values)} samples long, and a frame needs {least}")
        if self.centred:
            values = np.pad(values, half, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(values, self.fft)[:: self.hop]
        bands = _bands(self.fft // 2 + 1, self.rate, self.mels, self.f_min_hz, self.f_max_hz)
        window = _hann(self.window, self.fft)
        require_room((len(frames), self.mels), np.dtype(np.float64))
        found = np.empty((len(frames), self.mels))
        for start in range(0, len(frames), _TOGETHER):
            part = np.abs(np.fft.rfft(frames[start : start + _TOGETHER] * window))
            found[start : start + _TOGETHER] = part**self.power @ bands
        found = np.log(found + self.floor)
        if self.coefficients is not None:
            found = dct(found, type=2, norm="ortho", axis=1)[:, : self.coefficients]
        return np.ascontiguousarray(found.T, np.float32)


#: Frames that are transformed together.
_TOGETHER = 256


def _hann(window: int, fft: int) -> _Float:
    """A periodic Hann window in the middle of a transform."""
    found = np.zeros(fft)
    start = (fft - window) // 2
    found[start : start + window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    return found


@lru_cache(maxsize=8)
def _bands(bins: int, rate: int, mels: int, low_hz: float, high_hz: float) -> _Float:
    """(bins, mels) weight of every frequency in every band."""
    frequencies = np.linspace(0, rate // 2, bins)
    low, high = (2595 * math.log10(1 + hertz / 700) for hertz in (low_hz, high_hz))
    points: _Float = 700 * (10 ** (np.linspace(low, high, mels + 2) / 2595) - 1)
    slopes = points[None, :] - frequencies[:, None]
    widths = np.diff(points)
    rising, falling = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)))
