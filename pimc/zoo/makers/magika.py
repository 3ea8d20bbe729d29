"""Magika (Y. Fratantonio et al., arXiv 2409.13768): of what type a file is, by its bytes."""

from __future__ import annotations

import json

import numpy as np

from pimc.zoo.made import Array, Made
from pimc.zoo.makers.written import KINDS
from pimc.zoo.wheels import Wheels

__all__ = ["file_types"]

_PACKAGE, _FOLDER = "magika", "magika/models/standard_v3_3"
#: Real files, by the type that the network calls them.
_REAL = {"python": "*.py", "rst": "*.rst", "elf": "*.so"}
_OTHER = "scikit-learn"
#: Files of each type that calibrate and that judge.
_CALIB, _TEST = 8, 12


def file_types(wheels: Wheels) -> Made:
    """The network as it is; files of scikit-learn's wheel, and files written here from a seed."""
    said = json.loads(wheels.read(_PACKAGE, f"{_FOLDER}/config.min.json"))
    types: list[str] = said["target_labels_space"]
    calib: list[tuple[Array, int]] = []
    test: list[tuple[Array, int]] = []
    rng = np.random.default_rng(0)
    for kind, write in KINDS.items():
        files = [_features(write(rng)) for _ in range(_CALIB + _TEST)]
        calib += [(one, types.index(kind)) for one in files[:_CALIB]]
        test += [(one, types.index(kind)) for one in files[_CALIB:]]
    for kind, glob in _REAL.items():
        known = wheels.names(_OTHER, glob)
        chosen = [known[k] for k in rng.permutation(len(known))]
        files = [_features(one) for one in wheels.read_each(_OTHER, chosen[: _CALIB + _TEST])]
        half = len(files) * _CALIB // (_CALIB + _TEST)
        calib += [(one, types.index(kind)) for one in files[:half]]
        test += [(one, types.index(kind)) for one in files[half:]]
    model = wheels.read(_PACKAGE, f"{_FOLDER}/model.onnx")
    return Made(model, _stacked(calib, rng), _stacked(test, rng))


def _stacked(samples: list[tuple[Array, int]], rng: np.random.Generator) -> dict[str, Array]:
    order = rng.permutation(len(samples))
    x = np.stack([samples[k][0] for k in order])
    return {"bytes": x, "y": np.array([samples[k][1] for k in order])}


def _features(content: bytes) -> Array:
    """The first and the last 1,024 bytes without white space around, 256 where there is none."""
    first = np.frombuffer(content[:4096].lstrip()[:1024], np.uint8)
    last = np.frombuffer(content[-4096:].rstrip()[-1024:], np.uint8)
    found = np.full(2048, 256, np.int32)
    found[: len(first)] = first
    found[2048 - len(last) :] = last
    return found
