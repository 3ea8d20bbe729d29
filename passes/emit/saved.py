"""Read a plan back that :mod:`pimc.passes.emit.dump` wrote: an equal one, to go on with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pimc.chip.design import Chip
from pimc.errors import PimcError, PlanError
from pimc.files import container
from pimc.files.container import Tensor
from pimc.files.writing.atomic import sha256_file
from pimc.passes.emit.dump import CODES, CONSTANTS, FORMAT, GRAPH, LAYERS, PLAN, VERSION
from pimc.passes.emit.parts import get_constants, get_layers, get_quantized, get_tables
from pimc.passes.graph.frontend import read_graph
from pimc.plan.records import Plan

__all__ = ["load_chip", "load_plan"]

_AGAIN = "write the plan again with --dump-dir"


def load_plan(folder: str | Path) -> Plan:
    """The plan that lies in ``folder``, one of those that ``--dump-dir`` writes.

    Weights and codes are read from there when they are looked at.

    Raises:
        PlanError: no plan is there, or a file is missing, damaged, altered or another plan's.
        ModelError: the graph cannot be read.
    """
    folder = Path(folder)
    manifest, tensors = _container(folder / PLAN)
    files: Mapping[str, str] = manifest["files"]
    for name, digest in files.items():
        if not (folder / name).is_file():
            raise PlanError(f"{name} is missing", where=str(folder), hint=_AGAIN)
        if name == GRAPH and sha256_file(folder / GRAPH) != digest:
            raise _foreign(folder / name)
    try:
        return _plan(folder, manifest, tensors)
    except PimcError:
        raise
    except (KeyError, TypeError, ValueError, IndexError) as cause:
        raise PlanError(
            f"is not understood: {type(cause).__name__}: {cause}", str(folder / PLAN), _AGAIN
        ) from cause


def load_chip(folder: str | Path) -> Chip:
    """The chip that the plan in ``folder`` is for.

    Raises:
        PlanError: no plan is there, or its file is damaged or altered.
        ChipError: this pimc does not know some of the chip's keys.
    """
    manifest, _ = _container(Path(folder) / PLAN)
    return Chip.from_dict(manifest["chip"])


def _plan(folder: Path, manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Plan:
    files = manifest["files"]
    graph = read_graph(folder / GRAPH)
    if CONSTANTS in files:
        own, constants = _container(folder / CONSTANTS, files[CONSTANTS])
        get_constants(graph, own["constants"], constants)
    plan = Plan(
        graph,
        manifest["model"]["name"],
        manifest["model"]["sha256"],
        stage=manifest["stage"],
        arrays=manifest["arrays"],
        phases=tuple(manifest["phases"]),
        provenance=manifest["provenance"],
        notes=tuple(manifest["notes"]),
        own_passes=tuple(manifest["own_passes"]),
    )
    if LAYERS in files:
        own, weights = _container(folder / LAYERS, files[LAYERS])
        plan = replace(plan, layers=get_layers(own["layers"], weights))
    if CODES in files:
        _, codes = _container(folder / CODES, files[CODES])
        plan = replace(plan, quantized=get_quantized(manifest["quantized"], tensors, codes))
    return get_tables(plan, tensors)


def _container(path: Path, digest: str | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    manifest, tensors = container.load(path, FORMAT, VERSION, PlanError, in_place=True)
    if digest not in (None, manifest["sha256"]):
        raise _foreign(path)
    return manifest, tensors


def _foreign(path: Path) -> PlanError:
    return PlanError("belongs to another plan", where=str(path), hint=_AGAIN)
