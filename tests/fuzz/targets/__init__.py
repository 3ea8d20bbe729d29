"""The formats that pimc reads, and how each is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec

from tests.fuzz.oracle import Target

__all__ = ["TARGETS", "target_named"]

_HAS_TOKENIZERS = find_spec("tokenizers") is not None
#: Kinds of change by target.
TARGETS: Mapping[str, Sequence[str]] = {
    "image": ("raw", "header", "resealed"),
    "die": ("raw", "header", "resealed"),
    "capture": ("raw", "header", "resealed"),
    "checkpoint": ("raw", "header", "resealed"),
    "sweep": ("raw", "cells"),
    "parquet": ("raw", "cells"),
    "sweep-journal": ("raw", "values"),
    "recoveries": ("raw", "cells"),
    "journal": ("raw", "values"),
    "chip": ("raw", "values"),
    "faults": ("raw", "cells"),
    "data-toml": ("raw", "values"),
    "project": ("raw", "values"),
    "step": ("raw", "values"),
    "hashes": ("raw", "values"),
    "metrics": ("raw", "cells"),
    "npy": ("raw", "head"),
    "npz": ("raw", "members"),
    "idx": ("raw", "content"),
    "png": ("raw", "chunks"),
    "bmp": ("raw",),
    "lines": ("raw", "values"),
    "boxes": ("raw", "values"),
    "sound": ("raw",),
    "sample": ("raw", "members"),
    "onnx": ("raw", "fields"),
    **({"text": ("raw", "values"), "tokenizer": ("raw", "values")} if _HAS_TOKENIZERS else {}),
}


@cache
def target_named(name: str) -> Target:
    """The target of a name, with its samples."""
    from tests.fuzz.targets import containers, data, kinds, models, projects, tables

    makers: Mapping[str, Callable[[], Target]] = {
        **containers.MAKERS, **tables.MAKERS, **data.MAKERS, **kinds.MAKERS, **models.MAKERS,
        **projects.MAKERS,
    }  # fmt: skip
    return makers[name]()
