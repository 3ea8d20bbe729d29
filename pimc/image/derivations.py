"""How each number of a summary comes about, with the figures that went into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pimc.chip.design import Chip

__all__ = ["explained"]

Summary = Mapping[str, Any]
How = Callable[[Summary, Chip], str]


def _arrays(summary: Summary, chip: Chip) -> str:
    tiles = sum(layer["tiles"] for layer in summary["layers"])
    hierarchy = chip.hierarchy
    return (
        f"{tiles:,} tiles no larger than {chip.array.driven_rows}x{chip.array.cols} in "
        f"{summary['arrays_used']:,} arrays (packing {summary['options'].get('packing')}); "
        f"the chip has {hierarchy.cores:,} cores of {hierarchy.arrays_per_core:,}"
    )


def _cells(summary: Summary, chip: Chip) -> str:
    rows, cols = summary["array"]
    return (
        f"{summary['cells_used']:,} cells that hold a weight / ({summary['arrays_used']:,} arrays "
        f"· {rows} · {cols})"
    )


def _steps(summary: Summary, chip: Chip) -> str:
    return (
        "activations of arrays that one input vector a layer takes: tiles of an array are read "
        "together if they take the same inputs on the same wordlines, else one after the other"
    )


def _quantization(summary: Summary, chip: Chip) -> str:
    share = summary["options"].get("write_noise")
    noise = "what recovery is expected to leave," if share is None else share
    return (
        "Σ(ŵ − w)² / Σw² with ŵ what the codes stand for, a mean over layers by their weights; "
        f"clipping is chosen with {noise} times the variance of writing"
    )


def _programming(summary: Summary, chip: Chip) -> str:
    return (
        f"Σ scale²·σ(G)² / Σŵ² with σ(G) as the chip writes (cell.sigma, {chip.cell.sigma.kind}), "
        "a mean over layers by their weights"
    )


def _energy(summary: Summary, chip: Chip) -> str:
    parts = summary["energy_parts_pj"]
    return (
        f"input conversions {parts['dac']:,.0f} pJ (dac.energy_pj {chip.dac.energy_pj:g} a code "
        "and wordline), "
        f"output conversions {parts['adc']:,.0f} pJ (adc.energy_pj {chip.adc.energy_pj:g} a "
        "conversion), "
        f"currents {parts['array']:,.0f} pJ (array.v_read_v {chip.array.v_read_v:g} squared times "
        f"conductance, array.read_ns {chip.array.read_ns:g}); one sample; without the digital "
        "part, data movement and leakage"
    )


def _latency(summary: Summary, chip: Chip) -> str:
    return (
        f"a read step takes array.read_ns {chip.array.read_ns:g} and adc.convert_ns "
        f"{chip.adc.convert_ns:g} for each of the columns that share an ADC (at most "
        f"{chip.adc.columns_per_adc}); steps and layers one after the other, one sample"
    )


def _area(summary: Summary, chip: Chip) -> str:
    return (
        f"{summary['arrays_at_once']:,} arrays of {chip.array.rows} · {chip.array.cols} cells "
        f"(array.cell_area_um2 {chip.array.cell_area_um2:g}), {chip.array.rows} input converters "
        f"(dac.area_um2 {chip.dac.area_um2:g}) and an ADC (adc.area_um2 {chip.adc.area_um2:g}) for "
        f"every {chip.adc.columns_per_adc} columns; a layer has the share of its cells"
    )


_HOW: Mapping[str, How] = {
    "arrays_used": _arrays,
    "cell_utilization": _cells,
    "read_steps": _steps,
    "quantization_error": _quantization,
    "programming_error": _programming,
    "energy_pj": _energy,
    "latency_ns": _latency,
    "area_um2": _area,
}
#: Why a number is not there.
_MISSING = {
    "energy_pj": "not known: the network does not tell how many vectors each layer gets",
    "latency_ns": "not known: the network does not tell how many vectors each layer gets",
    "area_um2": "not known: the chip file states no area",
}


def explained(summary: Summary, chip: Chip) -> dict[str, str]:
    """How each number of ``summary`` comes about, and last where the chip's figures are from."""
    found = {
        key: _MISSING[key] if summary[key] is None else how(summary, chip)
        for key, how in _HOW.items()
    }
    return found | {"figures": f"chip {chip.name}: {chip.source or 'no source stated'}"}
