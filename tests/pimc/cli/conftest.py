"""What tests of several commands share."""

from __future__ import annotations

from collections.abc import Callable

import click
import numpy as np
import onnx
import pytest

from pimc.cli.registry import commands


@pytest.fixture(scope="session")
def called() -> Callable[[str], dict[str, click.Command]]:
    """A command by its name, and those below it: ``called("chips")`` has ``chips import``, too."""

    def find(name: str) -> dict[str, click.Command]:
        command = commands()[name].load()
        if not isinstance(command, click.Group):
            return {name: command}
        # The word show may be left out.
        return {f"{name} {below}".removesuffix(" show"): one
                for below, one in command.commands.items()}  # fmt: skip

    return find


@pytest.fixture
def model(tiny_model, tiny_inputs, here):
    """A folder with tiny.onnx and calib.npz."""
    onnx.save(tiny_model(), "tiny.onnx")
    np.savez("calib.npz", x=tiny_inputs)
    return here
