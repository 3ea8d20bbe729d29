"""The columns of a sweep beside its parameters: of accuracy, or of another task's metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pimc.files.strict import Key
from pimc.tasks.classification import CLASSIFICATION

__all__ = [
    "ACCURACY",
    "COLUMNS",
    "COMMON",
    "KEYS",
    "KINDS",
    "METRIC",
    "Row",
    "columns_for",
    "key_of_figures",
    "task_of",
]

#: Values by column; a parameter has a column of its name.
Row = Mapping[str, Any]

_SHARE = Key("float", "", low=0, high=1)
_AMOUNT = Key("float", "", low=0)
_COUNT = Key("int", "", low=0)
_TEXT = Key("str", "")
_VALUE = Key("float", "")
#: What was measured: accuracy, or the metric of another task.
ACCURACY: Mapping[str, Key] = {
    **dict.fromkeys(("accuracy_mean", "accuracy_std", "accuracy_low", "accuracy_high"), _SHARE),
    "accuracy_per_die": Key("floats", "", low=0, high=1),
    "float_accuracy": _SHARE,
}
METRIC: Mapping[str, Key] = {
    **dict.fromkeys(("metric_mean", "metric_std", "metric_low", "metric_high"), _VALUE),
    "metric_per_die": Key("floats", ""),
    "float_metric": _VALUE,
    "task": _TEXT,
}
COMMON: Mapping[str, Key] = {
    "error": _TEXT,
    "arrays": _COUNT,
    "cells": _COUNT,
    "read_steps": _COUNT,
    "energy_pj": _AMOUNT,
    "latency_ns": _AMOUNT,
    "seconds": _AMOUNT,
    "dies": Key("int", "", low=1),
    "seed": _COUNT,
    "samples": _COUNT,
    "age_s": _AMOUNT,
    "ir_drop": _TEXT,
    **dict.fromkeys(("image_sha256", "point_sha256"), _TEXT),
    **dict.fromkeys(("model_sha256", "chip_sha256", "calib_sha256", "data_sha256"), _TEXT),
}
#: The columns beside the parameters, and what they hold.
KEYS: Mapping[str, Key] = {**ACCURACY, **METRIC, **COMMON}
_TYPES: Mapping[str, type] = {"float": float, "int": int, "str": str, "floats": list}
KINDS: Mapping[str, type] = {name: _TYPES[item.kind] for name, item in KEYS.items()}
#: The columns of a sweep that measured accuracy, and the Python types of their values.
COLUMNS: Mapping[str, type] = {name: KINDS[name] for name in (*ACCURACY, *COMMON)}


def columns_for(key: str, task: str) -> dict[str, type]:
    """The columns beside the parameters of a sweep that was measured by a task, with types.

    Args:
        key: of the task's metric, ``accuracy`` or ``metric``.
    """
    figures = [*ACCURACY, "task"] if key == "accuracy" else [*METRIC]
    if task == CLASSIFICATION.name:
        figures.remove("task")
    return {name: KINDS[name] for name in (*figures, *COMMON)}


def key_of_figures(row: Row) -> str:
    """What stands for the figure in the names of a row's columns."""
    return "metric" if "metric_mean" in row else "accuracy"


def task_of(row: Row) -> str:
    """The task that a row was measured by."""
    return str(row.get("task") or CLASSIFICATION.name)
