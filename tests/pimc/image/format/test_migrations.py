"""Image files of older versions: read as if they were of today, under the name they had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.errors import ImageError
from pimc.files import container
from pimc.image.format.migrations import FORMAT, STEPS, VERSION
from pimc.image.image import Image

Parts = tuple[dict[str, Any], dict[str, Any]]


def from_version_0(manifest: dict[str, Any], tensors: dict[str, Any]) -> Parts:
    """In a version that never was, biases were called offsets, and half as large."""
    names = [name for name in tensors if name.endswith(".offset")]
    biases = {name.replace("offset", "bias"): np.float32(2) * tensors[name] for name in names}
    return manifest, {n: v for n, v in tensors.items() if n not in names} | biases


@pytest.fixture
def old(tiny_image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny image as a file of version 0, and the step that reads it."""
    monkeypatch.setattr("pimc.image.image.STEPS", {**STEPS, 0: from_version_0})
    tensors = dict(tiny_image.tensors)
    for layer in tiny_image.layers:
        name = f"layer.{layer.index:04d}"
        tensors[f"{name}.offset"] = tensors.pop(f"{name}.bias") / np.float32(2)
    path = tmp_path / "old.pimc"
    container.save(path, *container.seal(FORMAT, 0, tiny_image.manifest, tensors))
    return path


def test_there_is_a_step_from_every_version_before() -> None:
    assert set(STEPS) == set(range(1, VERSION))


def test_an_older_file_is_read_as_if_it_were_of_today(old: Path, tiny_image: Image) -> None:
    image = Image.load(old)
    assert image.to_bytes() == tiny_image.to_bytes()
    for one, two in zip(image.layers, tiny_image.layers, strict=True):
        np.testing.assert_array_equal(one.bias, two.bias)


def test_it_keeps_its_identity_until_it_is_written_again(
    old: Path, tiny_image: Image, tmp_path: Path
) -> None:
    manifest, _ = container.load(old, FORMAT, 0, ImageError)
    image = Image.load(old)
    assert image.sha256 == manifest["sha256"] != tiny_image.sha256
    image.save(tmp_path / "new.pimc")
    again = Image.load(tmp_path / "new.pimc")
    assert again.sha256 == tiny_image.sha256
    changed = image.updated(levels=image.levels ^ image.used)
    assert changed.sha256 == changed.manifest["sha256"] != image.sha256
    changed.save(tmp_path / "changed.pimc")
    assert Image.load(tmp_path / "changed.pimc").sha256 == changed.sha256


def test_what_no_step_changes_is_not_hashed_again(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []
    hashes: Callable[..., list[str]] = container.digests

    def counted(tensors: Any) -> list[str]:
        found = [*tensors]
        hashed.append(len(found))
        return hashes(found)

    monkeypatch.setattr(container, "digests", counted)
    image = Image.load(old)
    # All that is in the file when it is verified, then what the step made.
    assert hashed == [len(image.tensors), len(image.layers)]


def test_a_file_that_no_step_leads_on_from_is_refused(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pimc.image.image.STEPS", {})
    with pytest.raises(ImageError, match=r"old\.pimc: format version 0 is older"):
        Image.load(old)
