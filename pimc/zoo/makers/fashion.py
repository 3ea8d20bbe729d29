"""The network and data that lie in the repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import pimc
from pimc.errors import UsageError
from pimc.zoo.made import Made
from pimc.zoo.wheels import Wheels

__all__ = ["resnet8"]


def resnet8(wheels: Wheels) -> Made:
    """ResNet-8 on Fashion-MNIST, from ``models/fashion`` of the checkout.

    Raises:
        UsageError: this pimc is installed without its repository.
    """
    folder = Path(pimc.__file__).parents[1] / "models" / "fashion"
    if not (folder / "resnet8.onnx").is_file():
        raise UsageError(
            "lies in the repository, not in the package",
            where="models/fashion",
            hint="run pimc from a checkout",
        )
    loaded = {}
    for role in ("calib", "test"):
        with np.load(folder / f"{role}.npz") as arrays:
            # Shuffled, so that the first samples are of all classes.
            order = np.random.default_rng(0).permutation(len(arrays["y"]))
            loaded[role] = {name: arrays[name][order] for name in ("x", "y")}
    settings = (folder / "data.toml").read_text(encoding="utf-8")
    return Made((folder / "resnet8.onnx").read_bytes(), **loaded, settings=settings)
