"""Lines of text as pictures."""

from __future__ import annotations

import numpy as np

from pimc.zoo.makers.rendered import WORDS, line, pasted, phrase


def rng(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_phrases_are_of_known_words_and_fit() -> None:
    found = [phrase(rng(seed), 12) for seed in range(200)]
    assert all(1 <= len(text) <= 12 for text in found)
    parts = {part.lower() for text in found for part in text.split() if not part.isdigit()}
    assert parts <= set(WORDS)
    assert len(set(found)) > 150


def test_the_same_seed_draws_the_same_line_and_another_text_another_one() -> None:
    first = line(rng(), "water 17", 48)
    assert first.pixels.shape[0] == 48
    assert first.pixels.shape[2:] == (3,)
    assert np.array_equal(first.pixels, line(rng(), "water 17", 48).pixels)
    assert first.pixels.std() > 20
    assert not np.array_equal(first.pixels[:, :40], line(rng(), "still 17", 48).pixels[:, :40])


def test_lines_are_scaled_and_filled_up_with_gray() -> None:
    wide = pasted(np.zeros((24, 30, 3), np.uint8), 48, 100)
    assert wide.shape == (48, 100, 3)
    assert (wide[:, :60] == 0).all()
    assert (wide[:, 60:] == 128).all()
    assert pasted(np.zeros((24, 300, 3), np.uint8), 48, 100).shape == (48, 100, 3)
