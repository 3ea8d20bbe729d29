"""Front ends against their definitions, written out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pimc.data.kinds.spectra import Spectrum

RATE, FFT, WINDOW, HOP, MELS = 8000, 64, 50, 20, 6


def spectrum(**given: Any) -> Spectrum:
    usual: dict[str, Any] = {
        "rate": RATE, "window": WINDOW, "hop": HOP, "fft": FFT, "power": 2.0, "mels": MELS,
        "f_min_hz": 50.0, "f_max_hz": 3800.0, "centred": True, "floor": 1e-6, "coefficients": None,
    }  # fmt: skip
    return Spectrum(**usual | given)


def sound(length: int = 300) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(length).astype(np.float32)


def by_definition(x: list[float], power: float, centred: bool) -> list[list[float]]:
    """ln(mel bands + floor) of every frame, sums as they stand in the books."""
    if centred:
        half = FFT // 2
        x = [*x[half:0:-1], *x, *x[-2 : -half - 2 : -1]]
    lead = (FFT - WINDOW) // 2
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * n / WINDOW) for n in range(WINDOW)]
    mel = lambda f: 2595 * math.log10(1 + f / 700)  # noqa: E731
    low, high = mel(50.0), mel(3800.0)
    points = [
        700 * (10 ** ((low + (high - low) * m / (MELS + 1)) / 2595) - 1) for m in range(MELS + 2)
    ]
    frames = []
    for start in range(0, len(x) - FFT + 1, HOP):
        part = [x[start + lead + n] * hann[n] for n in range(WINDOW)]
        bins = []
        for k in range(FFT // 2 + 1):
            turn = 2 * math.pi * k / FFT
            real = sum(v * math.cos(turn * (n + lead)) for n, v in enumerate(part))
            imaginary = sum(v * math.sin(turn * (n + lead)) for n, v in enumerate(part))
            bins.append(math.hypot(real, imaginary) ** power)
        bands = []
        for a, b, c in zip(points, points[1:], points[2:], strict=False):
            total = 0.0
            for k, value in enumerate(bins):
                f = k * RATE / FFT
                total += value * max(0.0, min((f - a) / (b - a), (c - f) / (c - b)))
            bands.append(math.log(total + 1e-6))
        frames.append(bands)
    return frames


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("centred", [True, False])
def test_log_mel_bands_are_those_of_the_definition(power: float, centred: bool) -> None:
    x = sound()
    wanted = np.array(by_definition(x.tolist(), power, centred)).T
    found = spectrum(power=power, centred=centred)(x)
    assert found.dtype == np.float32
    assert found.shape == wanted.shape == (MELS, 16 if centred else 12)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_coefficients_are_the_cosine_transform_of_the_bands() -> None:
    x = sound()
    bands = spectrum()(x).astype(np.float64)
    turn = np.cos(np.pi * np.arange(MELS)[:, None] * (2 * np.arange(MELS) + 1) / (2 * MELS))
    scale = np.where(np.arange(MELS) == 0, math.sqrt(1 / MELS), math.sqrt(2 / MELS))
    wanted = scale[:, None] * turn @ bands
    np.testing.assert_allclose(spectrum(coefficients=4)(x), wanted[:4], atol=1e-5)


def test_frames_are_those_of_torch() -> None:
    import torch

    x = sound(5000)
    window = torch.hann_window(WINDOW)
    found = torch.stft(
        torch.from_numpy(x), FFT, HOP, WINDOW, window, center=True, return_complex=True
    )
    assert spectrum()(x).shape[1] == found.shape[1]


def test_a_pitch_lies_in_its_band() -> None:
    time = np.arange(4000) / RATE
    loudest = [
        int(spectrum(mels=20)(np.sin(2 * np.pi * hertz * time).astype(np.float32)).mean(1).argmax())
        for hertz in (200, 800, 2000, 3500)
    ]
    assert loudest == sorted(set(loudest))


def test_sounds_shorter_than_a_frame_are_refused() -> None:
    with pytest.raises(ValueError, match="is 32 samples long, and a frame needs 33"):
        spectrum()(sound(32))
    assert spectrum()(sound(33)).shape == (MELS, 2)
