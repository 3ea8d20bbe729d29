"""The public names of recovery, loaded when they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pimc.passes.recover as room


def test_the_package_alone_loads_nothing_heavy() -> None:
    code = "import sys, pimc.passes.recover\nassert not {'torch', 'numpy'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", room.__all__)
def test_public_names_are_there(name) -> None:
    assert getattr(room, name).__name__ == name
    assert name in dir(room)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'recuperate'"):
        room.recuperate  # noqa: B018  # reading it is the test
