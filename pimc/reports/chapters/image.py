"""The chapter of an image: what it is of, its layers, where they sit, what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.image.image import Image
from pimc.image.summary import summarize
from pimc.reports.blocks import Bars, Block, Cell, Facts, Fold, Part, Table
from pimc.reports.chapters.chip import chip_facts
from pimc.reports.chapters.maps import array_maps
from pimc.reports.chapters.network import network_graph
from pimc.reports.charts import bars_of
from pimc.reports.numbers import age_text, engineering, percent, plain

__all__ = ["brief_of_image", "part_of_image"]

#: Rows of a table that a page holds; the rest are counted.
MOST_ROWS = 1_500
#: Bars that are read one by one.
_MOST_BARS = 20

Summary = Mapping[str, Any]


def part_of_image(
    image: Image,
    name: str,
    budget: int,
    rewritten: npt.NDArray[np.int64] | None = None,
    changed: Sequence[tuple[str, str]] = (),
) -> Part:
    """All of an image.

    Args:
        name: what it is called: its file.
        budget: bytes that the pictures of its arrays may take.
        rewritten: addresses of cells that a recovery rewrote.
        changed: facts on what differs from the image before it.
    """
    summary = summarize(image)
    blocks: list[Block] = [array_maps(image, budget, rewritten)]
    if changed:
        blocks.insert(0, Facts(rows=changed, title="What the recovery changed"))
    blocks += [_tiles(image), *_costs(image, summary)]
    graph = network_graph(image)
    blocks += [] if graph is None else [graph]
    blocks += [chip_facts(image.chip), *_provenance(image, summary)]
    return Part("image", name, brief_of_image(image, summary), blocks)


def brief_of_image(
    image: Image, summary: Summary | None = None, most: int = MOST_ROWS
) -> list[Block]:
    """What an image is of, and its layers.

    Args:
        summary: that of the image, where it is known.
        most: layers that are shown.
    """
    summary = summarize(image) if summary is None else summary
    return [Facts(rows=_facts(summary)), _layers(summary, most)]


def _facts(summary: Summary) -> list[tuple[str, str]]:
    rows, cols = summary["array"]
    recovery, drift = summary["recovery"], summary["drift"]
    energy, latency, area = (summary[key] for key in ("energy_pj", "latency_ns", "area_um2"))
    return [
        ("Model", summary["model"]),
        (
            "Chip",
            f"{summary['chip']}: {rows}×{cols} arrays, {summary['levels']} levels, "
            f"{summary['mapping']} mapping",
        ),
        ("Layers on arrays", f"{len(summary['layers']):,}"),
        ("Arrays", f"{summary['arrays_used']:,} of {summary['arrays_available']:,}"),
        ("Phases", f"{summary['phases']}" if summary["phases"] > 1 else ""),
        (
            "Cells",
            f"{summary['cells_used']:,}, {percent(summary['cell_utilization'], 1)} of the arrays "
            f"in use; {summary['cells_a_weight']:.3g} a weight",
        ),
        ("Read steps", f"{summary['read_steps']:,}"),
        (
            "Weight error",
            f"{percent(summary['quantization_error'])} from rounding to levels, "
            f"{percent(summary['programming_error'])} expected from writing (squared, relative)",
        ),
        ("Energy", "" if energy is None else f"{engineering(energy * 1e-12, 'J')} an inference"),
        ("Latency", "" if latency is None else f"{engineering(latency * 1e-9, 's')} an inference"),
        ("Area", "" if area is None else f"{area * 1e-6:.3g} mm², arrays and converters"),
        ("Calibration", "with data" if summary["calibrated"] else "none: ranges are dynamic"),
        ("Recovered", _recovered(recovery)),
        ("Drift", _drift(drift)),
    ]


def _recovered(note: Mapping[str, Any] | None) -> str:
    if not note:
        return ""
    return (
        f"for {note['die']} by {note['strategy']}: {note['cells_rewritten']:,} cells rewritten in "
        f"{note['rounds']:,} rounds"
    )


def _drift(note: Mapping[str, Any] | None) -> str:
    if not note:
        return ""
    return f"made up for from {age_text(note['ages_s'][0])} to {age_text(note['ages_s'][-1])}"


def _layers(summary: Summary, most: int) -> Table:
    layers = summary["layers"]
    shown = layers[:most]
    return Table(
        columns=(
            "Layer", "Operator", "Groups", "Rows", "Columns", "Mapping", "Tiles", "Arrays",
            "Rounding", "Writing", "Energy", "Latency",
        ),
        rows=[_layer(entry) for entry in shown],
        caption="Layers on arrays, in the order in which they run",
        title="Layers",
        note="Rounding and writing: expected squared error of the weights over their squares, of "
        "rounding to levels and of imprecise writing. Energy and latency: of one inference."
        + (f" The first {len(shown):,} of {len(layers):,}." if len(shown) < len(layers) else ""),
    )  # fmt: skip


def _layer(entry: Mapping[str, Any]) -> list[Cell]:
    energy, latency = entry["energy_pj"], entry["latency_ns"]
    return [
        Cell(entry["name"], entry["name"]),
        Cell(entry["op"], entry["op"]),
        *(Cell(f"{entry[key]:,}", entry[key]) for key in ("groups", "rows", "cols")),
        Cell(entry["mapping"], entry["mapping"]),
        *(Cell(f"{entry[key]:,}", entry[key]) for key in ("tiles", "arrays")),
        *(
            Cell(percent(entry[key]), entry[key])
            for key in ("quantization_error", "programming_error")
        ),
        Cell("–" if energy is None else engineering(energy * 1e-12, "J"), energy),
        Cell("–" if latency is None else engineering(latency * 1e-9, "s"), latency),
    ]


def _tiles(image: Image) -> Fold:
    """Where every tile lies, as a table."""
    tiles, count = image.tiles, min(len(image.tiles), MOST_ROWS)
    names = [layer.name for layer in image.layers]
    rows = []
    for number in range(count):
        tile, place = tiles.tile(number), tiles.place(number)
        name = names[tile.layer]
        values = (place.array, place.row, place.col, tile.rows, tile.cols, tile.group)
        rows.append([Cell(name, name), *(Cell(f"{value:,}", value) for value in values)])
    note = f"The first {count:,} of {len(tiles):,}." if count < len(tiles) else ""
    columns = ("Layer", "Array", "Wordline", "Bitline", "Wordlines", "Bitlines", "Group")
    table = Table(columns=columns, rows=rows, caption="Tiles and where they lie", note=note)
    return Fold(blocks=[table], title=f"Table of {len(tiles):,} tiles")


def _costs(image: Image, summary: Summary) -> list[Block]:
    """Energy and latency by layer, the costliest first."""
    found: list[Block] = []
    for key, title, unit, factor in (
        ("energy_pj", "Energy by layer", "J", 1e-12),
        ("latency_ns", "Latency by layer", "s", 1e-9),
    ):
        known = [layer for layer in summary["layers"] if layer[key]]
        total = sum(layer[key] for layer in known)
        known.sort(key=lambda layer: -layer[key])
        entries = [
            (
                layer["name"],
                [layer[key]],
                f"{engineering(layer[key] * factor, unit)}, {percent(layer[key] / total, 1)}",
            )
            for layer in known[:_MOST_BARS]
        ]
        if entries:
            more = f" The {_MOST_BARS} costliest of {len(known):,} layers." * (
                len(known) > _MOST_BARS
            )
            note = f"{engineering(total * factor, unit)} in all.{_by_part(summary, key)}{more}"
            found.append(Bars(bars=bars_of(entries), legend=(), title=title, note=note))
    return found


def _by_part(summary: Summary, key: str) -> str:
    if key != "energy_pj":
        return " Layers run one after the other, without pipelining."
    parts = summary["energy_parts_pj"]
    names = {"dac": "input converters", "adc": "output converters", "array": "currents"}
    told = ", ".join(
        f"{names[name]} {engineering(value * 1e-12, 'J')}" for name, value in parts.items()
    )
    return f" {told[0].upper()}{told[1:]}. Estimated from the chip file, without the digital part."


def _provenance(image: Image, summary: Summary) -> list[Block]:
    """What the manifest says of where the image comes from."""
    told = {"sha256", "model", "chip", "layers", "tensors", "provenance", "phases", "version"}
    calibration = {} if image.calibration is None else image.calibration.entry()
    further = {
        name: value
        for name, value in image.manifest.items()
        if name not in told | {"format", "options", "calibration", "recovery", "drift"}
    }
    rows = [
        ("Image", image.sha256),
        ("Format", f"version {summary['format_version']}"),
        ("Model", f"{image.model.name}, {image.model.sha256}"),
        ("Recovered from", "" if image.recovery is None else image.recovery.parent),
        ("Calibration data", calibration.get("sha256", "")),
        *((f"Calibration: {name}", plain(value)) for name, value in calibration.items()
          if name != "sha256"),
        *((f"Option {name}", plain(value)) for name, value in image.options.items()),
        *((name, plain(value)) for name, value in further.items()),
    ]  # fmt: skip
    return [
        Fold(blocks=[Facts(rows=rows, wide=True)], title="Provenance: hashes, versions, options")
    ]
