"""Files with right hashes and wrong content, at the command line: one sentence, the right code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.image.image import VERSION as IMAGE_VERSION
from pimc.image.image import Image
from tests.resealing import Content, content_of, reseal


def put(name: str, place: Any, value: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        content.tensors[name][place] = value

    return change


@pytest.fixture
def files(here: Path, tiny_image: Image, pimc) -> tuple[Content, Content]:
    """An image and a die that holds it."""
    tiny_image.save("good.pimc")
    np.save("x.npy", np.zeros((2, 2, 8, 8), np.float32))
    assert pimc("program", "good.pimc", "--die", "good.die").code == 0
    image, die = Path("good.pimc"), Path("good.die")
    return content_of(image, "pimc-image", IMAGE_VERSION), content_of(die, "pimc-die", 2)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (put("tiles", (0, 6), -1), "tiles"),
        (put("layer.0000.gain", 0, np.nan), "layer.0000.gain"),
        (lambda content: content.tensors.pop("levels"), "levels"),
        (lambda content: content.tensors.update(graph=np.frombuffer(b"junk", np.uint8)), "graph"),
        (lambda content: content.keys["layers"][0].update(groups=2**31), "groups"),
    ],
)
def test_an_image_is_refused_by_every_command(files, pimc, change, named) -> None:
    bad = reseal(files[0], Path("bad.pimc"), change)
    before = sorted(Path().iterdir())
    for command in (
        ("info", bad),
        ("program", bad, "--die", "new.die"),
        ("verify", bad),
        ("run", bad, "--input", "x.npy", "-o", "y.npz"),
        ("diff", "good.pimc", bad),
    ):
        done = pimc(*command)
        assert done.code == 2, command
        assert done.err.startswith("error: bad.pimc, ")
        assert named in done.err.splitlines()[0]
        assert len(done.err.strip().splitlines()) == 2
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (put("g_us", (0, 0, slice(0, 4)), np.nan), "g_us"),
        (put("g_us", (0, 0, 0), -1e6), "g_us"),
        (lambda content: content.keys.update(clock_s=-1e9), "clock_s"),
        (lambda content: content.tensors.pop("stress"), "stress"),
        (lambda content: content.keys.pop("chip"), "chip"),
        (lambda content: content.keys["chip"].update(new=1), "chip: new"),
    ],
)
def test_a_die_is_refused_by_every_command_and_stays(files, pimc, change, named) -> None:
    bad = reseal(files[1], Path("bad.die"), change)
    before = bad.read_bytes()
    for command in (
        ("age", "1h", "--die", bad),
        ("run", "good.pimc", "--input", "x.npy", "--die", bad, "-o", "y.npz"),
        ("program", "good.pimc", "--die", bad),
    ):
        done = pimc(*command)
        assert done.code == 3, command
        assert done.err.startswith("error: bad.die: ")
        assert named in done.err.splitlines()[0]
    assert bad.read_bytes() == before
