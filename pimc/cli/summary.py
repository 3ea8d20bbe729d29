"""What ``pimc compile`` and ``pimc info`` say of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pimc.cli.text import engineering, facts, percent, room, table

if TYPE_CHECKING:
    from pimc.chip.design import Chip

__all__ = ["explanations", "layer_table", "summary_facts"]

_COLUMNS = (
    "layer", "op", "groups", "rows", "cols", "mapping", "tiles", "arrays", "quantization",
    "programming", "energy", "latency",
)  # fmt: skip


def layer_table(summary: dict[str, Any], below: int) -> str:
    """The table of layers, cut to what a screen holds beside ``below`` lines of facts."""
    return table(_COLUMNS, _layer_rows(summary), limit=room(below + 4))


def summary_facts(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """The lines under the table of layers."""
    rows, cols = summary["array"]
    return [
        ("model", f"{summary['model']}, {_calibrated(summary['calibrated'])}"),
        (
            "chip",
            f"{summary['chip']}, {rows}x{cols}, {summary['levels']} levels, {summary['mapping']}"
            + _mixed(summary),
        ),
        ("arrays", f"{summary['arrays_used']:,} of {summary['arrays_available']:,}"),
        ("phases", _phases(summary)),
        (
            "cells",
            f"{summary['cells_used']:,}, {percent(summary['cell_utilization'], 1)} of the arrays, "
            f"{summary['cells_a_weight']:.3g} a weight",
        ),
        ("read steps", f"{summary['read_steps']:,}"),
        (
            "weight error",
            f"{percent(summary['quantization_error'])} quantization, "
            f"{percent(summary['programming_error'])} programming (squared, relative)",
        ),
        ("estimate", f"{_energy(summary)}, {_latency(summary)} an inference, {_area(summary)}"),
    ]


def explanations(summary: dict[str, Any], chip: Chip) -> str:
    """How each number of the summary comes about."""
    from pimc.image.derivations import explained

    summary["explained"] = explained(summary, chip)
    return "\n\n" + facts(list(summary["explained"].items()))


def _layer_rows(summary: dict[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            entry["name"],
            entry["op"],
            entry["groups"],
            entry["rows"],
            entry["cols"],
            entry["mapping"],
            entry["tiles"],
            entry["arrays"],
            entry["quantization_error"],
            entry["programming_error"],
            _energy(entry),
            _latency(entry),
        )
        for entry in summary["layers"]
    ]


def _calibrated(calibrated: bool) -> str:
    return "calibrated" if calibrated else "not calibrated: input ranges are dynamic"


def _mixed(summary: dict[str, Any]) -> str:
    """How many layers have another mapping than most of the chip's."""
    kinds = [entry["mapping"].partition(":")[0] for entry in summary["layers"]]
    others = sum(kind != summary["mapping"] for kind in kinds)
    return f"; {others} of {len(kinds)} layers otherwise" if others else ""


def _phases(summary: dict[str, Any]) -> str:
    cost = summary["reprogramming"]
    if cost is None:
        return ""
    return (
        f"{summary['phases']}; writing all of them once, for every batch, takes "
        f"{engineering(cost['seconds'], 's')} and {engineering(cost['energy_pj'] * 1e-12, 'J')}, "
        "cell after cell"
    )


def _energy(entry: dict[str, Any]) -> str:
    energy = entry["energy_pj"]
    return engineering(None if energy is None else energy * 1e-12, "J")


def _latency(entry: dict[str, Any]) -> str:
    latency = entry["latency_ns"]
    return engineering(None if latency is None else latency * 1e-9, "s")


def _area(summary: dict[str, Any]) -> str:
    area = summary["area_um2"]
    return "area not known" if area is None else f"{area * 1e-6:.3g} mm² (arrays and converters)"
