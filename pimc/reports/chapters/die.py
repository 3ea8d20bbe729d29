"""The chapter of a die: what its cells hold, and how far that is from what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pimc.image.image import Image
from pimc.reports.blocks import Bars, Block, Cell, Facts, Part, Table
from pimc.reports.chapters.chip import chip_facts
from pimc.reports.charts import bars_of
from pimc.reports.numbers import age_text, percent
from pimc.runtime.die.die import UNWRITTEN, Die, Stuck

__all__ = ["brief_of_die", "holds", "part_of_die"]

_STUCK: Mapping[Stuck, str] = {
    Stuck.AT_G_MIN: "stuck at the lowest conductance",
    Stuck.AT_G_MAX: "stuck at the highest conductance",
    Stuck.OPEN: "on a dead line",
}


def part_of_die(die: Die, name: str, image: Image | None = None, sha256: str = "") -> Part:
    """All of a die.

    Args:
        name: what it is called: its file.
        image: that it holds, if that is known; its layers are told one by one.
        sha256: of the file.
    """
    blocks: list[Block] = []
    if die.chip is not None:
        blocks += [_levels(die), *([] if image is None else [_layers(die, image)])]
        blocks.append(chip_facts(die.chip))
    return Part("die", name, brief_of_die(die, sha256), blocks)


def brief_of_die(die: Die, sha256: str = "") -> list[Block]:
    """What a die is, and how its cells are."""
    known: list[tuple[str, str]] = [("Name", die.name), ("File", sha256)]
    if die.chip is None:
        return [Facts(rows=[*known, ("Chip", "none yet: nothing was written")])]
    state, chip = die.cells, die.chip
    written = state.level != UNWRITTEN
    count = int(written.sum())
    rows = [
        *known,
        ("Chip", f"{chip.name}, {chip.array.rows}×{chip.array.cols}, {chip.cell.levels} levels"),
        ("Arrays", f"{len(state.level):,}"),
        ("Cells written", f"{count:,} of {state.level.size:,}"),
        ("Age", age_text(die.age_s) if count else ""),
    ]
    if count:
        writes = state.writes[written]
        away = _away_us(die)[written]
        free = state.stuck[written] == Stuck.FREE
        rows += [
            ("Writes a cell", f"{writes.mean():.3g}, {writes.max():,} at most"),
            ("Distance from targets", _distance(away[free])),
            *((f"Cells {_STUCK[kind]}", _share(state.stuck == kind, written)) for kind in _STUCK),
        ]
    return [Facts(rows=rows)]


def _away_us(die: Die) -> Any:
    """What cells hold now less what was asked for, (arrays, rows, cols) in µS."""
    state = die.cells
    targets = np.asarray(die.attached().cell.g_levels_us, np.float32)
    held = die.held_us(np.arange(state.level.size)).reshape(state.level.shape)
    return held - targets[np.maximum(state.level, 0)]


def _distance(away_us: Any) -> str:
    if not away_us.size:
        return ""
    squared = np.mean(np.square(away_us, dtype=np.float64))
    return f"{np.sqrt(squared):.3g} µS (root mean square, without stuck cells)"


def _share(which: Any, written: Any) -> str:
    count = int((which & written).sum())
    return f"{count:,} of those written, {percent(count / int(written.sum()))}"


def _levels(die: Die) -> Bars:
    """How many cells were asked for each level."""
    levels = die.attached().cell.levels
    state = die.cells
    counts = np.bincount(state.level[state.level != UNWRITTEN], minlength=levels)
    targets = die.attached().cell.g_levels_us
    entries = [
        (f"{level} ({targets[level]:.3g} µS)", [float(count)], f"{count:,} cells")
        for level, count in enumerate(counts.tolist())
    ]
    return Bars(bars=bars_of(entries), legend=(), title="Cells by level")


def _layers(die: Die, image: Image) -> Table:
    """How far the cells of each layer are from their targets."""
    away = _away_us(die).reshape(-1)
    stuck = die.cells.stuck.reshape(-1)
    rows = []
    for layer in image.layers:
        cells = image.cells(layer)
        cells = cells[cells >= 0]
        free = away[cells][stuck[cells] == Stuck.FREE].astype(np.float64)
        rms = float(np.sqrt(np.mean(free**2))) if free.size else None
        mean = float(free.mean()) if free.size else None
        bad = int((stuck[cells] != Stuck.FREE).sum())
        rows.append(
            [
                Cell(layer.name, layer.name),
                Cell(f"{len(cells):,}", len(cells)),
                Cell("–" if rms is None else f"{rms:.3g} µS", rms),
                Cell("–" if mean is None else f"{mean:+.3g} µS", mean),
                Cell(f"{bad:,}", bad),
            ]
        )
    return Table(
        columns=("Layer", "Cells", "RMS distance", "Mean distance", "Stuck or on dead lines"),
        rows=rows,
        caption="Layers on this die, and how far their cells are from what was asked for",
        title="Layers on this die",
        note="Distances are what cells conduct now less their targets; stuck cells are left out.",
    )


def holds(die: Die, image: Image) -> bool:
    """Whether a die holds the levels of an image."""
    if die.chip is None or die.chip.fingerprint != image.chip.fingerprint:
        return False
    level = die.cells.level
    if len(level) < image.arrays:
        return False
    held = level[: image.arrays]
    return bool((held == image.levels)[image.used].all())
