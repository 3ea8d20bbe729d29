"""Write a plan out for people: what each pass left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pimc.chip.design import Chip
from pimc.errors import UsageError
from pimc.files.atomic import replacing
from pimc.passes.graph.serialize import graph_bytes
from pimc.passes.layout.dataflow import layer_graph
from pimc.plan.records import Plan

#: Parts of a plan that are tables of plain dataclasses.
_TABLES = ("layers", "quantized", "tiles", "places", "lines", "schedule")


def dump(plan: Plan, chip: Chip, folder: Path) -> None:
    """Write ``graph.onnx``, ``plan.json`` and ``layers.graphml`` into ``folder``.

    The last is what flows between layers, for viewers of graphs; there are none before partition.

    Raises:
        UsageError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise UsageError("cannot create the folder", where=str(folder)) from cause
    graph = graph_bytes(plan.graph)
    with replacing(folder / "graph.onnx") as stream:
        for part in graph.parts():
            stream.write(part.data)
    tables = {name: [_plain(entry) for entry in getattr(plan, name)] for name in _TABLES}
    text = {"stage": plan.stage, "chip": chip.name, "arrays": plan.arrays, **tables}
    with replacing(folder / "plan.json") as stream:
        stream.write((json.dumps(text, indent=1) + "\n").encode())
    if plan.layers:
        import networkx as nx

        with replacing(folder / "layers.graphml") as stream:
            stream.write("\n".join(nx.generate_graphml(layer_graph(plan))).encode())


def _plain(value: Any) -> Any:
    """A JSON value; arrays are named by type and shape instead of being written out."""
    if hasattr(value, "shape"):
        kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        return f"{kind}{list(value.shape)}"
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return _TO_JSON.get(type(value), lambda v: v)(value)


_TO_JSON: dict[type, Callable[[Any], Any]] = {tuple: lambda v: [_plain(item) for item in v]}
