"""Write a plan out, for people to look at and for :mod:`pimc.passes.emit.saved` to read back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from pimc.chip.design import Chip
from pimc.errors import UsageError
from pimc.files import container
from pimc.files.container import Content
from pimc.files.writing.atomic import replacing, sha256_file
from pimc.passes.emit.parts import (
    put_codes,
    put_constants,
    put_layers,
    put_quantized,
    put_tables,
)
from pimc.passes.graph.serialize import graph_bytes
from pimc.passes.layout.dataflow import layer_graph
from pimc.plan.records import Plan

__all__ = ["CODES", "CONSTANTS", "FORMAT", "GRAPH", "LAYERS", "PLAN", "VERSION", "Dumped", "dump"]

#: What is read back: the network, and four containers.
GRAPH, CONSTANTS = "graph.onnx", "constants.safetensors"
LAYERS, CODES, PLAN = "layers.safetensors", "codes.safetensors", "plan.safetensors"
#: Of all containers.
FORMAT, VERSION = "pimc-plan", 2

#: Parts of a plan that are tables of plain dataclasses.
_TABLES = ("layers", "quantized", "tiles", "places", "lines", "schedule")


@dataclass(frozen=True)
class Dumped:
    """A plan that was written to a folder.

    Attributes:
        digests: of the files that a later plan with the same part shares: SHA-256 by name.
    """

    plan: Plan
    folder: Path
    digests: Mapping[str, str] = field(repr=False)


def dump(plan: Plan, chip: Chip, folder: Path, before: Dumped | None = None) -> Dumped:
    """Write ``plan`` into ``folder``, large parts as containers that are read where they lie.

    For people ``plan.json`` tells all but the numbers, and ``layers.graphml`` is what flows between
    layers, for viewers of graphs; there are none before partition.

    Args:
        before: an earlier plan: files of parts that have not changed since are linked, not written.

    Raises:
        UsageError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise UsageError("cannot create the folder", where=str(folder)) from cause
    digests: dict[str, str] = {}
    for part, names, write in _PARTS:
        if before is not None and getattr(before.plan, part) is getattr(plan, part):
            known = {name: before.digests[name] for name in names if name in before.digests}
            for name in known:
                _link(before.folder / name, folder / name)
        else:
            known = write(plan, folder)
        digests |= known
    contents: dict[str, Content] = {}
    put_tables(plan, contents)
    manifest = {
        "stage": plan.stage,
        "chip": chip.to_dict(),
        "model": {"name": plan.model_name, "sha256": plan.model_sha256},
        "arrays": int(plan.arrays),
        "phases": list(plan.phases),
        "quantized": put_quantized(plan.quantized, contents),
        "provenance": plan.provenance,
        "notes": list(plan.notes),
        "own_passes": list(plan.own_passes),
        "files": digests,
    }
    container.stream(folder / PLAN, FORMAT, VERSION, manifest, contents)
    _for_people(plan, chip, folder)
    return Dumped(plan, folder, digests)


def _write_graph(plan: Plan, folder: Path) -> dict[str, str]:
    graph = graph_bytes(plan.graph)
    with replacing(folder / GRAPH) as stream:
        for part in graph.parts():
            stream.write(part.data)
    contents: dict[str, Content] = {}
    entries = put_constants(plan.graph, contents)
    found = {GRAPH: sha256_file(folder / GRAPH)}
    if entries:
        found |= _container(folder / CONSTANTS, {"constants": entries}, contents)
    return found


def _write_layers(plan: Plan, folder: Path) -> dict[str, str]:
    contents: dict[str, Content] = {}
    entries = put_layers(plan.layers, contents)
    return _container(folder / LAYERS, {"layers": entries}, contents) if entries else {}


def _write_codes(plan: Plan, folder: Path) -> dict[str, str]:
    contents: dict[str, Content] = {}
    put_codes(plan.quantized, contents)
    return _container(folder / CODES, {}, contents) if contents else {}


def _container(
    path: Path, manifest: Mapping[str, Any], contents: Mapping[str, Content]
) -> dict[str, str]:
    sealed, _ = container.stream(path, FORMAT, VERSION, manifest, contents)
    return {path.name: sealed["sha256"]}


#: Large parts of a plan, the files that hold each, and what writes these and returns their hashes.
_PARTS: tuple[tuple[str, tuple[str, ...], Callable[[Plan, Path], dict[str, str]]], ...] = (
    ("graph", (GRAPH, CONSTANTS), _write_graph),
    ("layers", (LAYERS,), _write_layers),
    ("quantized", (CODES,), _write_codes),
)


def _link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the disk cannot do that.

    Files of a dump are replaced, never changed, so that both stay what they are.
    """
    if target.exists() and target.samefile(source):
        return
    try:
        target.unlink(missing_ok=True)
        os.link(source, target)
    except OSError:
        with open(source, "rb") as whole, replacing(target) as copy:
            shutil.copyfileobj(whole, copy)


def _for_people(plan: Plan, chip: Chip, folder: Path) -> None:
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
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    return _TO_JSON.get(type(value), lambda v: v)(value)


_TO_JSON: dict[type, Callable[[Any], Any]] = {tuple: lambda v: [_plain(item) for item in v]}
