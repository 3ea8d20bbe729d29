"""Lines of known words as pictures, drawn from a seed with the fonts that matplotlib ships."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pimc.errors import UsageError
from pimc.zoo.made import Array

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

__all__ = ["WORDS", "Line", "line", "pasted", "phrase"]

_LISTED = (
    "about after again along answer before below better between book bring build carry city "
    "clear close country cover cross differ early earth enough every example family father "
    "figure final follow forest found ground group happen heard horse hundred island kind "
    "large later learn letter light listen little market measure minute money morning mother "
    "mountain music never night north notice number object often open order other paper "
    "people picture piece place plain plant point power problem produce question quick reach "
    "river second sentence several simple sister small sound south spell stand start state "
    "still story street strong study summer table thousand together travel under until voice "
    "watch water weather white window winter wonder world write yellow young"
)
#: Words that lines are made of.
WORDS = tuple(_LISTED.split())
_FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "DejaVuSans-Oblique")


@dataclass(frozen=True)
class Line:
    """A line of text as a picture.

    Attributes:
        pixels: (height, width, 3) uint8.
        text: what it says.
    """

    pixels: Array
    text: str


def phrase(rng: np.random.Generator, most: int) -> str:
    """Words, some with a capital or followed by a number, of ``most`` characters at the most."""
    text = ""
    while True:
        word = str(rng.choice(WORDS))
        word = word.capitalize() if rng.random() < 0.3 else word
        word = f"{word} {rng.integers(10, 1000)}" if rng.random() < 0.2 else word
        longer = f"{text} {word}".strip()
        if len(longer) > most:
            return text or longer[:most].strip()
        text = longer


def line(rng: np.random.Generator, text: str, height: int) -> Line:
    """A text in a drawn font, dark on light or light on dark, with a little noise."""
    from PIL import Image, ImageDraw

    font = _font(str(rng.choice(_FONTS)), int(height * rng.uniform(0.58, 0.7)))
    left, top, right, bottom = font.getbbox(text)
    width = int(right - left) + height // 3
    dark, light = rng.integers(0, 90, 3), rng.integers(170, 256, 3)
    ink, paper = (dark, light) if rng.random() < 0.7 else (light, dark)
    picture = Image.new("RGB", (width, height), tuple(map(int, paper)))
    place = (height // 6 - left, (height - (bottom - top)) / 2 - top)
    ImageDraw.Draw(picture).text(place, text, font=font, fill=tuple(map(int, ink)))
    noisy = np.asarray(picture, np.float32) + rng.normal(0, 6, (height, width, 3))
    return Line(noisy.clip(0, 255).astype(np.uint8), text)


def pasted(pixels: Array, height: int, width: int) -> Array:
    """A line scaled to a height, cut or filled up on the right with the middle gray."""
    from PIL import Image

    scaled = min(width, max(1, round(pixels.shape[1] * height / pixels.shape[0])))
    resized = Image.fromarray(pixels).resize((scaled, height), Image.Resampling.BILINEAR)
    found = np.full((height, width, 3), 128, np.uint8)
    found[:, :scaled] = np.asarray(resized)
    return found


@cache
def _font(name: str, size: int) -> FreeTypeFont:
    from PIL import ImageFont

    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise UsageError("lines are drawn with its fonts", "matplotlib", "pip install matplotlib")
    path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf"
    return ImageFont.truetype(str(path), size)
