"""Older versions of a format are brought up to date step by step, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pimc.errors import DeviceError
from pimc.files.migrate import up_to_date

Parts = tuple[dict[str, Any], dict[str, Any]]


def renamed(manifest: dict[str, Any], tensors: dict[str, Any]) -> Parts:
    """1 → 2: ``old`` is called ``new``."""
    return manifest, {"new": tensors["old"]}


def doubled(manifest: dict[str, Any], tensors: dict[str, Any]) -> Parts:
    """2 → 3: a key says what is doubled."""
    return {**manifest, "twice": True}, {"new": 2 * tensors["new"]}


STEPS = {1: renamed, 2: doubled}


def read(version: Any, tensors: dict[str, Any]) -> Parts:
    return up_to_date({"version": version}, tensors, 3, STEPS, DeviceError, "x.die")


def test_every_step_from_the_version_of_the_file_on() -> None:
    old = {"old": np.array([1, 2])}
    manifest, tensors = read(1, old)
    assert manifest == {"version": 3, "twice": True}
    assert tensors["new"].tolist() == [2, 4]
    assert old.keys() == {"old"}
    assert read(2, {"new": np.array([1])})[1]["new"].tolist() == [2]


def test_the_present_version_stays_as_it_is() -> None:
    tensors = {"new": np.array([1])}
    manifest, same = read(3, tensors)
    assert manifest == {"version": 3}
    assert same is tensors


@pytest.mark.parametrize("version", [0, -1, 0.5])
def test_a_version_that_no_step_leads_on_from_is_refused(version: float) -> None:
    with pytest.raises(DeviceError, match=f"x.die: format version {version} is older") as caught:
        read(version, {})
    assert caught.value.hint


def test_what_a_step_cannot_read_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"x\.die: a key or tensor of version 1 .* 'old'"):
        read(1, {})
