"""Rows of tables that reports are of."""

from __future__ import annotations

from typing import Any

from pimc.studies.recoveries.columns import empty_row
from pimc.studies.sweep_columns import COLUMNS
from pimc.tasks.classification import CLASSIFICATION


def point(levels: int, mean: float | None, error: str = "") -> dict[str, Any]:
    empty = {name: "" if kind is str else None for name, kind in COLUMNS.items()}
    figures = {} if mean is None else {
        "accuracy_mean": mean, "accuracy_std": 0.01, "accuracy_low": mean - 0.02,
        "accuracy_high": mean + 0.02, "float_accuracy": 0.95, "arrays": 1024, "cells": 1000,
        "energy_pj": 2.5e6, "accuracy_per_die": [mean - 0.01, mean, mean + 0.01],
    }  # fmt: skip
    return {
        "levels": levels, **empty, **figures, "error": error, "dies": 3,
        "seed": 900, "samples": 200, "age_s": 0.0, "point_sha256": f"p{levels}",
    }  # fmt: skip


def die(number: int, before: float | None, after: float | None, error: str = "") -> dict[str, Any]:
    known = {} if after is None else {
        "accuracy_before": before, "accuracy_after": after, "float_accuracy": 0.95,
        "quantized_accuracy": 0.94, "loss_before": 1.5, "loss_after": 0.1, "cells_total": 1000,
        "cells_rewritten": 100, "rounds": 3, "samples": 200, "held_out": 16,
        "strategy": "selective",
    }  # fmt: skip
    name = f"sim:{number}"
    return {**empty_row(CLASSIFICATION), "die": name, "source": name, "seed": number,
            "exit_code": 3 if error else 0, "error": error, **known}  # fmt: skip


def wafer() -> list[dict[str, Any]]:
    """Four dies whose places are known."""
    return [
        {**die(900 + n, 0.5 + 0.1 * n, 0.9), "x": float(n % 2), "y": float(n // 2)}
        for n in range(4)
    ]
