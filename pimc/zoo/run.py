"""A network of the zoo measured: float, perfect cells, dies as programmed and recovered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from pimc.api import compile
from pimc.data.dataset import Dataset, Role, load_data
from pimc.errors import UsageError
from pimc.functions.evaluate import evaluate
from pimc.functions.recover_dies import recover_dies
from pimc.image.image import Image
from pimc.image.summary import summarize
from pimc.passes.options import Options
from pimc.passes.recover.options import RecoverOptions
from pimc.progress import Progress, silent
from pimc.runtime.die.die import Die
from pimc.studies.evaluate import Batches
from pimc.tasks.find import task_named
from pimc.zoo.get import Obtained, require
from pimc.zoo.record import Measured

__all__ = ["Limits", "run"]


@dataclass(frozen=True)
class Limits:
    """How much of the data a run looks at; None: as much as the record says."""

    calib: int | None = None
    samples: int | None = None


def run(
    obtained: Obtained,
    dies: Sequence[int],
    *,
    limits: Limits | None = None,
    progress: Progress = silent,
) -> Measured:
    """Compile a network, measure it in float and on perfect cells, and recover dies of it.

    The image is left in the network's folder as ``model.pimc``. Samples are the first of the data;
    those that judge are used for no choice.

    Args:
        dies: seeds of the dies; of none only float and perfect cells are measured.
        limits: how much of the data.

    Raises:
        UsageError: a package is missing, or a die could not be recovered.
        DataError: fewer calibration samples than a recovery needs.
    """
    network, limits = obtained.network, limits or Limits()
    require(network)
    task = task_named(network.task)
    calib = _data(obtained, "calib", limits.calib or network.calib)
    image = compile(
        obtained.path("model.onnx"),
        obtained.path("chip.toml"),
        calib=calib,
        options=Options(digital=network.digital, calibration_images=network.compiled_on),
        progress=progress,
    )
    image.save(obtained.path("model.pimc"))
    test = _data(obtained, "test", limits.samples or network.samples)
    common = {
        "pimc": version("pimc"),
        "calib": len(calib),
        "samples": len(test),
        **_figures_of(image),
    }
    judged = Batches(test, network.batch, task)
    if not dies:
        perfect = evaluate(image, judged, die=Die.ideal(), progress=progress)
        return Measured(**common, in_float=_known(perfect.float_accuracy), perfect=perfect.accuracy)
    done = recover_dies(
        image,
        calib,
        judged,
        dies=list(dies),
        seed=dies[0],
        strategy=network.strategy,
        options=RecoverOptions(task=network.task),
        progress=progress,
    )
    for die, why in done.failed.items():
        raise UsageError(f"die {die} could not be recovered: {why}", where=network.name)
    before, after = (f"{done.metric.key}_{when}" for when in ("before", "after"))
    return Measured(
        **common,
        in_float=_known(done.float_metric),
        perfect=_known(done.perfect_metric),
        dies=tuple(dies),
        programmed=tuple(float(row[before]) for row in done.rows),
        recovered=tuple(float(row[after]) for row in done.rows),
    )


def _known(value: float | None) -> float:
    assert value is not None  # the image was just compiled with its float network
    return value


def _data(obtained: Obtained, role: Role, most: int) -> Dataset:
    import onnxruntime as ort

    session = ort.InferenceSession(obtained.path("model.onnx"), providers=["CPUExecutionProvider"])
    data = load_data(obtained.path(f"{role}.npz"), inputs=session.get_inputs(), role=role)
    return data.subset(np.arange(min(most, len(data))))


def _figures_of(image: Image) -> dict[str, Any]:
    """What the image says of what it takes."""
    told = summarize(image)
    return {
        "weights": sum(layer.groups * layer.rows * layer.cols for layer in image.layers),
        "cells_a_weight": told["cells_a_weight"],
        "arrays": told["arrays_used"],
        "energy_pj": told["energy_pj"],
    }
