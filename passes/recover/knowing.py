"""Steps that write nothing: learn what the cells hold, and make up for it digitally."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from pimc.errors import CaptureError
from pimc.passes.recover.bench import Bench
from pimc.passes.recover.calibrate import calibrate, images_that_fit
from pimc.passes.recover.distill import Student
from pimc.passes.recover.floor import outputs_noise
from pimc.passes.recover.from_outputs import identify_outputs
from pimc.passes.recover.identify import identify, row_correction
from pimc.passes.recover.ranges import fit_ranges
from pimc.passes.recover.sums import identify_sums
from pimc.passes.recover.twin import Twin
from pimc.runtime.capture import Capture, capture
from pimc.runtime.graph.executor import ArrayCall
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array

__all__ = ["correct", "fit_columns", "learn", "student_of", "tune_ranges"]


def learn(bench: Bench, *, only: Sequence[int] | None = None, number: int = 0) -> None:
    """Capture and bring the estimates up to date; each ``number`` sends probes of its own.

    A capture that lies ready on the bench is used first.

    Raises:
        DeviceError: the chip failed.
    """
    captured, bench.captured = bench.captured, None
    if captured is None:
        captured = capture(
            bench.session(),
            bench.train,
            replace(bench.options.capture, seed=bench.options.seed + number),
            outputs=False,
            only=only,
            progress=bench.progress,
        )
    _bring_up_to_date(bench, captured)
    if not bench.has_chip:
        bench.judge("as captured")


def _bring_up_to_date(bench: Bench, captured: Capture) -> None:
    if captured.record == "outputs":
        _learn_from_outputs(bench, captured.outputs)
        return
    bound = bench.session().layers
    for index, record in bench.progress(list(captured.layers.items()), "identifying cells"):
        layer = bench.image.layers[index]
        known = bench.estimates[index]
        bench.estimates[index] = (
            identify(known, bench.image, layer, record)
            if len(record.codes)
            else identify_sums(known, bench.image, bound[layer.name], record)
        )


def _learn_from_outputs(bench: Bench, given: Mapping[str, npt.NDArray[np.float32]]) -> None:
    student = student_of(bench)
    missing = set(student.outputs) - set(given)
    if missing:
        raise CaptureError(
            f"the network's output {missing.pop()} was not recorded",
            hint="capture again, with all outputs",
        )
    bench.estimates = identify_outputs(
        bench.image,
        bench.estimates,
        student,
        bench.train,
        [torch.from_numpy(given[name]) for name in student.outputs],
        outputs_noise(bench, student.twin),
        bench.generator,
        progress=bench.progress,
    )


def correct(bench: Bench, name: str = "column gain and offset", written: int = 0) -> None:
    """Take off what the reference columns are estimated to add, fit the columns, judge."""
    _correct_rows(bench)
    _fit(bench)
    bench.judge(name, written)


def fit_columns(bench: Bench) -> None:
    """Fit every column's gain and offset to the float network and judge."""
    _fit(bench)
    bench.judge("column gain and offset")


def tune_ranges(bench: Bench) -> None:
    """Where it is asked for, try ranges of the converters, keep what serves, correct and judge."""
    if "ranges" not in bench.options.train:
        return
    session, teacher, inputs = _calibration(bench)
    bench.image = fit_ranges(session, teacher, inputs)
    correct(bench, "converter ranges")


def _correct_rows(bench: Bench) -> None:
    corrections = {
        layer.index: row_correction(bench.estimates[layer.index], bench.image, layer)
        for layer in bench.image.layers
    }
    bench.image = bench.image.with_layers(
        replace(bench.image.layers[index], row_correction=value)
        for index, value in corrections.items()
        if value is not None
    )


def _fit(bench: Bench) -> None:
    session, teacher, inputs = _calibration(bench)
    bench.image = calibrate(session, teacher, inputs, bench.array())


def _calibration(bench: Bench) -> tuple[Session, ArrayCall, torch.Tensor]:
    """The chip, the float network, and as many inputs as both can be compared on at once."""
    session, teacher = bench.session(), teacher_array(bench.image)
    one = torch.from_numpy(bench.train.batch(0, 1))
    count = images_that_fit(session, teacher, one, bench.options.calibrate_images)
    chosen = np.linspace(0, len(bench.train) - 1, min(count, len(bench.train))).astype(np.int64)
    return session, teacher, torch.from_numpy(bench.train.subset(chosen).all())


def student_of(bench: Bench) -> Student:
    """The twin as it is known now, and the float network."""
    session = bench.session()
    return Student(
        session.executor,
        Twin.of(bench.image, bench.estimates),
        teacher_array(bench.image),
        session.get_inputs()[0].name,
        tuple(arg.name for arg in session.get_outputs()),
    )
