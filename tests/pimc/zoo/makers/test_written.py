"""Files of many types."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from pimc.zoo.makers.written import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_makes_a_file_and_another_one_another(kind: str) -> None:
    first, again, other = (KINDS[kind](np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(first) > 64


def made(kind: str) -> io.BytesIO:
    return io.BytesIO(KINDS[kind](np.random.default_rng(4)))


def test_files_are_what_they_are_called() -> None:
    for kind in ("png", "jpeg", "gif", "bmp", "tiff"):
        assert Image.open(made(kind)).format == kind.upper()
    assert zipfile.is_zipfile(made("zip"))
    with tarfile.open(fileobj=made("tar")) as file:
        assert file.getnames()
    assert isinstance(json.load(made("json")), dict)
    rows = list(csv.reader(io.TextIOWrapper(made("csv"))))
    assert len({len(row) for row in rows}) == 1
    assert np.load(made("npy")).ndim == 2
    assert made("sqlite").getvalue().startswith(b"SQLite format 3")
