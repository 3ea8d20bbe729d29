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
from pimc.data.checks import class_names, with_starts
from pimc.data.inputs import Input, named_inputs
from pimc.data.layout import Preprocess, Shape
from pimc.data.produced import is_callable, produced
from pimc.data.read import Stored, find_source, read_source
from pimc.data.samples import ONLY, Dataset, Feed, checked
from pimc.data.settings import read_settings
from pimc.data.stateful.states import expanded, ordinary
from pimc.errors import DataError
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
    states: Mapping[str, str] | None = None,
) -> Dataset:
    """Read DATA: a file, a folder of many, a folder that holds one of these, or a callable.

    Args:
        path: ``.npz``, ``.npy``, ``.jsonl``, IDX ``.gz``, a file of COCO's boxes, a folder, or
            ``module:function``, which yields samples.
        overrides: keys of ``data.toml`` that take precedence over it; None values are skipped.
        input_shape: the shape of the model's only input with its batch axis, None for a free axis.
        inputs: the model's inputs, as a session's ``get_inputs`` gives them; in place of
            ``input_shape``, and needed where there are several.
        role: which file of a folder is meant: ``calib.npz`` or ``test.npz`` come first.
        states: of a network with a state, the output that feeds an input one step later, where
            neither ``data.toml`` nor ``overrides`` say it.

    Raises:
        DataError: with the path, what is wrong and how to mend it.
        UsageError: the model does not say the shape of an input.
    """
    wanted = () if inputs is None else named_inputs(inputs)
    if inputs is None and input_shape is not None:
        wanted = (Input(ONLY, tuple(input_shape), np.dtype(np.float32)),)
    captures: tuple[Path, ...] = ()
    source = None if is_callable(path) else find_source(Path(path), role, wanted)
    toml = Path("data.toml") if source is None else source.folder / "data.toml"
    settings = read_settings(toml, overrides or {})
    feeds = expanded(settings.states or states or {}, [one.name for one in wanted])
    needed = ordinary(wanted, feeds, settings.path) if wanted else ()
    hows = settings.of([one.name for one in needed] or [ONLY])
    if source is None:
        stored, shown, where = produced(str(path), needed), str(path), str(path)
    else:
        stored = read_source(source, hows, needed, settings)
        _require_starts(source.path, stored, feeds)
        shown, where, captures = source.path.name, str(source.path), source.captures
    if stored.layout is not None:
        hows = {name: replace(how, layout=stored.layout) for name, how in hows.items()}
    data = checked(with_starts(stored, feeds), hows, where, wanted, feeds)
    return replace(
        data,
        name=shown,
        unused=_unused(Path(where), data),
        captures=captures,
        classes=class_names(data.y, stored, settings),
    )


def _require_starts(path: Path, stored: Stored, feeds: Mapping[str, str]) -> None:
    """Refuse an array under a state's name that has no value a sample: it would not be used."""
    for name in set(npz_names(path) if path.suffix == ".npz" else ()) & feeds.keys():
        if name not in stored.targets:
            message = f"{name} is a state, and its array has not a value a sample"
            raise DataError(message, str(path), "save states at the start with their samples first")


def _unused(path: Path, data: Dataset) -> tuple[str, ...]:
    """Names of arrays of an archive that are neither inputs nor hold a value for each sample."""
    held = npz_names(path) if path.suffix == ".npz" and path.is_file() else []
    return tuple(name for name in held if name not in {ONLY, *data.columns, *data.targets})
