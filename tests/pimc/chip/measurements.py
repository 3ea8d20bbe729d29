"""Measured conductances in a file, drawn from known means and deviations."""

from __future__ import annotations

from pathlib import Path

import numpy as np

MEANS, SIGMAS = (2.5, 11.0, 24.0, 38.5), (0.4, 1.1, 0.9, 0.6)


def samples(folder: Path, label: str = "level", count: int = 300) -> tuple[Path, np.ndarray]:
    """A file of samples in a shuffled order, and the samples (levels, count)."""
    rng = np.random.default_rng(1)
    drawn = np.array(MEANS)[:, None] + np.array(SIGMAS)[:, None] * rng.standard_normal((4, count))
    drawn = np.maximum(drawn, 0.0).round(4)
    labels = {"level": range(4), "target_us": (3, 11, 25, 40)}[label]
    rows = [f"{name},{g}" for name, line in zip(labels, drawn, strict=True) for g in line]
    rng.shuffle(rows)
    path = folder / "measured.csv"
    path.write_text("\n".join([f"{label},g_us", *rows]) + "\n")
    return path, drawn
