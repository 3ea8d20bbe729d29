"""The steps that strategies are made of; each works on the bench and leaves it consistent.

A step that was cut can be done again from its start on the bench as it was then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from pimc.errors import CaptureError
from pimc.files import sha256_array
from pimc.image import Image
from pimc.passes.recover.bench import Bench
from pimc.passes.recover.calibrate import calibrate, images_that_fit
from pimc.passes.recover.distill import Student, distill, influences
from pimc.passes.recover.floor import outputs_noise
from pimc.passes.recover.forward import through_chip, with_noise
from pimc.passes.recover.from_outputs import identify_outputs
from pimc.passes.recover.harden import HardenOptions, harden
from pimc.passes.recover.identify import identify, prior, rewritten, row_correction
from pimc.passes.recover.layerwise import LayerwiseOptions, train_and_write
from pimc.passes.recover.levels import LevelOptions, train_levels
from pimc.passes.recover.ranges import fit_ranges
from pimc.passes.recover.residual import add_residual
from pimc.passes.recover.rewrite import Influence, choose, propose
from pimc.passes.recover.sums import identify_sums
from pimc.passes.recover.twin import Twin
from pimc.runtime.capture import Capture, capture
from pimc.runtime.executor import ArrayCall
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array

Step = Callable[[Bench], None]


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
    student = _student(bench)
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


def _correct_rows(bench: Bench) -> None:
    corrections = {
        layer.index: row_correction(bench.estimates[layer.index], bench.image, layer)
        for layer in bench.image.layers
    }
    bench.image = bench.image.updated(
        columns={
            index: {"row_correction": value}
            for index, value in corrections.items()
            if value is not None
        }
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


def tune_ranges(bench: Bench) -> None:
    """Try ranges of the converters, keep what serves, correct and judge.

    Without the chip there is nothing to try them on.
    """
    if not bench.has_chip:
        return
    session, teacher, inputs = _calibration(bench)
    bench.image = fit_ranges(session, teacher, inputs)
    correct(bench, "converter ranges")


def rewriting(rounds: int, *, part: float = 1.0) -> tuple[Step, ...]:
    """Steps of rewriting the cells that pay most, looking at how they landed, and again.

    Writes are chosen in one step and done in the next, so that no write is done that is not
    noted before.

    Args:
        part: of the budget that they may use.
    """
    return tuple(
        step
        for number in range(1, rounds + 1)
        for step in (
            partial(_choose, number=number, part=part, last=number == rounds),
            _write_chosen,
        )
    )


def training_levels(number: int, options: LevelOptions | None = None) -> tuple[Step, ...]:
    """Steps of training which cells to write and to what, within the budget, and writing them.

    Args:
        number: of the round.
    """
    chosen = partial(_choose_by_training, number=number, options=options or LevelOptions())
    return chosen, _write_chosen


def add_digital(bench: Bench, *, share: float) -> None:
    """Let the digital side add the weights that take most off, correct and judge.

    Args:
        share: weights it may add, as a part of all.
    """
    count = int(share * sum(v.groups * v.rows * v.cols for v in bench.image.layers))
    bench.image = add_residual(
        bench.image, bench.estimates, _influences(bench), count, progress=bench.progress
    )
    correct(bench, "digital residual")


def rewrite_all(bench: Bench) -> None:
    """Write every cell again to the level that it is asked to hold, and judge.

    Raises:
        DeviceError: the chip failed.
    """
    cells = np.flatnonzero(bench.image.used)
    bench.chosen = cells, bench.image.levels.reshape(-1)[cells], 1
    done = bench.write()
    bench.estimates = {layer.index: prior(bench.image, layer) for layer in bench.image.layers}
    bench.judge("every cell written again", done)


def write_hardened(bench: Bench, *, options: HardenOptions) -> None:
    """Train the weights under write errors, write every cell that changes, and judge.

    Raises:
        ModelError: gradients cannot reach a layer.
        DeviceError: the chip failed.
    """
    trained = _hardened(bench, options)
    cells = np.flatnonzero(trained.levels != bench.image.levels)
    bench.chosen = cells, trained.levels.reshape(-1)[cells], 1
    done = bench.write()
    names = {layer.index: {"bias": layer.bias} for layer in trained.layers}
    bench.image = bench.image.updated(columns=names)
    bench.judge("hardened weights written", done)


#: The last hardened image by what it was made of: it does not depend on the die, and takes long.
_HARDENED: dict[tuple[object, ...], Image] = {}


def _hardened(bench: Bench, options: HardenOptions) -> Image:
    chosen = bench.options.seed, bench.options.task
    key = (bench.image.sha256, options, *chosen, sha256_array(bench.train.all()))
    if key not in _HARDENED:
        _HARDENED.clear()
        _HARDENED[key] = harden(
            bench.image,
            _student(bench),
            bench.goal,
            bench.train,
            bench.held_out,
            options,
            torch.Generator().manual_seed(bench.options.seed),
            progress=bench.progress,
        )
    return _HARDENED[key]


def write_layer_by_layer(bench: Bench, *, options: LayerwiseOptions) -> None:
    """Train what follows each layer on what the chip gives, write it, and judge at the end.

    Raises:
        ModelError: gradients cannot reach a layer.
        DeviceError: the chip failed.
    """
    done = train_and_write(bench, _student(bench), options)
    bench.judge("layer by layer", done)


def train_columns(bench: Bench) -> None:
    """Train the digital side through the twin; every epoch is judged on the chip."""
    if not {"gain", "bias"} & set(bench.options.train):
        return
    student = _student(bench)

    def judge(epoch: int) -> bool:
        """Whether it is worth going on."""
        bench.image = bench.image.updated(columns=student.twin.columns())
        bench.judge(f"distilling, epoch {epoch + 1}")
        return bench.stages_since_best() < bench.options.patience

    distill(
        student,
        bench.goal,
        bench.train,
        bench.options.distill,
        bench.generator,
        array=_forward(bench, student.twin),
        train=bench.options.train,
        judge=judge,
        progress=bench.progress,
    )


def _forward(bench: Bench, twin: Twin) -> ArrayCall:
    """What layers give while the digital side is trained."""
    if bench.options.distill.forward == "twin":
        return twin
    if bench.has_chip:
        return through_chip(twin, bench.session().layers)
    return with_noise(twin, bench.generator)


def _choose_by_training(bench: Bench, *, number: int, options: LevelOptions) -> None:
    if (left := _left(bench)) <= 0:
        return
    cells, levels, bench.image = train_levels(
        bench.image,
        bench.estimates,
        _student(bench),
        bench.goal,
        bench.train,
        options,
        bench.generator,
        left,
        progress=bench.progress,
    )
    if not bench.has_chip:
        # The next image is all that says what to write.
        differ = bench.image.levels.reshape(-1)[cells] != levels
        cells, levels = cells[differ], levels[differ]
    bench.chosen = cells, levels, number


def _left(bench: Bench, part: float = 1.0) -> int:
    """Writes that this part of the budget still allows."""
    allowed = int(part * bench.options.budget * bench.image.used.sum())
    return allowed - sum(map(len, bench.writes))


def _choose(bench: Bench, *, number: int, part: float, last: bool) -> None:
    """Lay out the writes of a round: half of what is left of the budget, in the last all of it."""
    before = [int(writes[0, 3]) for writes in bench.writes]
    if number > 1 and number - 1 not in before:
        return  # nothing paid in the round before
    total = int(bench.image.used.sum())
    left = _left(bench, part)
    if left <= 0:
        return
    budget = left if last else left // 2
    weights = _influences(bench)
    proposals = [
        propose(
            bench.image,
            layer,
            bench.estimates[layer.index],
            weights[layer.index],
            share=budget / max(total, 1),
            # Without the chip the next image is all that says what to write, and programming
            # it leaves cells alone that were asked for the same level before.
            again=bench.has_chip,
        )
        for layer in bench.progress(bench.image.layers, "choosing cells")
    ]
    picked = choose(proposals, budget).values()
    cells = np.concatenate([cells for cells, _ in picked])
    bench.chosen = cells, np.concatenate([levels for _, levels in picked]), number


def _influences(bench: Bench) -> dict[int, Influence]:
    count = min(bench.options.influence_images, len(bench.train))
    some = bench.train.subset(np.linspace(0, len(bench.train) - 1, count).astype(np.int64))
    return influences(_student(bench), bench.goal, some, bench.generator, progress=bench.progress)


def _write_chosen(bench: Bench) -> None:
    """Write what was chosen, capture the layers that were touched, correct and judge."""
    cells, _, number = bench.chosen
    done = bench.write()
    if not done:
        return
    touched = []
    for layer in bench.image.layers:
        changed = np.isin(bench.image.cells(layer), cells)
        if changed.any():
            touched.append(layer.index)
            known = bench.estimates[layer.index]
            bench.estimates[layer.index] = rewritten(known, bench.image, layer, changed)
    if bench.has_chip:
        learn(bench, only=touched, number=number)
    correct(bench, f"rewriting, round {number}", done)


def _student(bench: Bench) -> Student:
    session = bench.session()
    return Student(
        session.executor,
        Twin.of(bench.image, bench.estimates),
        teacher_array(bench.image),
        session.get_inputs()[0].name,
        tuple(arg.name for arg in session.get_outputs()),
    )
