"""Calibration and labelled data, read from what ``DATA`` names.

The formats and the keys of ``data.toml`` stand in ``docs/data.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pimc.data.arrays import npz_names
from pimc.data.checks import class_names
from pimc.data.inputs import Input, named_inputs
from pimc.data.layout import Preprocess, Shape
from pimc.data.produced import is_callable, produced
from pimc.data.read import find_source, read_source
from pimc.data.samples import ONLY, Dataset, Feed, checked
from pimc.data.settings import read_settings
from pimc.files.kinds.reading import read_as

__all__ = ["Dataset", "Feed", "Preprocess", "Role", "Shape", "load_data"]

Role = Literal["calib", "test"]


@read_as("data")
def load_data(
    path: str | Path,
    *,
    overrides: Mapping[str, object] | None = None,
    input_shape: Shape | None = None,
    inputs: Sequence[Any] | None = None,
    role: Role = "calib",
) -> Dataset:
    """Read DATA: a file, an image folder, a folder that holds one of these, or a callable.

    Args:
        path: ``.npz``, ``.npy``, IDX ``.gz``, a folder, or ``module:function``, which yields
            samples.
        overrides: keys of ``data.toml`` that take precedence over it; None values are skipped.
        input_shape: the shape of the model's only input with its batch axis, None for a free axis.
        inputs: the model's inputs, as a session's ``get_inputs`` gives them; in place of
            ``input_shape``, and needed where there are several.
        role: which file of a folder is meant: ``calib.npz`` or ``test.npz`` come first.

    Raises:
        DataError: with the path, what is wrong and how to mend it.
        UsageError: the model does not say the shape of an input.
    """
    wanted = () if inputs is None else named_inputs(inputs)
    if inputs is None and input_shape is not None:
        wanted = (Input(ONLY, tuple(input_shape), np.dtype(np.float32)),)
    names = [one.name for one in wanted] or [ONLY]
    captures: tuple[Path, ...] = ()
    if is_callable(path):
        settings = read_settings(Path("data.toml"), overrides or {})
        stored, shown, where = produced(str(path), wanted), str(path), str(path)
        hows = settings.of(names)
    else:
        source = find_source(Path(path), role)
        settings = read_settings(source.folder / "data.toml", overrides or {})
        hows = settings.of(names)
        stored = read_source(source, hows, wanted)
        shown, where, captures = source.path.name, str(source.path), source.captures
    if stored.layout is not None:
        hows = {name: replace(how, layout=stored.layout) for name, how in hows.items()}
    data = checked(stored, hows, where, wanted)
    return replace(
        data,
        name=shown,
        unused=_unused(Path(where), data),
        captures=captures,
        classes=class_names(data.y, stored, settings),
    )


def _unused(path: Path, data: Dataset) -> tuple[str, ...]:
    """Names of arrays of an archive that are neither inputs nor hold a value for each sample."""
    held = npz_names(path) if path.suffix == ".npz" and path.is_file() else []
    return tuple(name for name in held if name not in {ONLY, *data.columns, *data.targets})
