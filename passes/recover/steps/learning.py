"""Learning what the cells hold, from whatever the chip or a capture of it tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from pimc.errors import CaptureError, UsageError
from pimc.passes.recover.bench.bench import Bench
from pimc.passes.recover.bench.floor import outputs_noise
from pimc.passes.recover.bench.judge import judge
from pimc.passes.recover.bench.state import State
from pimc.passes.recover.estimate import CellEstimate
from pimc.passes.recover.know.codes import identify
from pimc.passes.recover.know.outputs import identify_outputs
from pimc.passes.recover.know.sums import identify_sums
from pimc.runtime.capture import LayerCapture, layer_by_layer
from pimc.runtime.door.abilities import age_of

__all__ = ["learn"]


def learn(
    bench: Bench, state: State, *, only: Sequence[int] | None = None, number: int = 0
) -> State:
    """Bring the estimates up to date: from the capture that was given, later from one taken now.

    Without the chip what was learnt is judged by the twin.

    Args:
        only: numbers of the layers to capture; all if None.
        number: each sends probes of its own.

    Raises:
        CaptureError: an output of the network was not recorded.
        UsageError: the digital side follows drift, and the cells are no longer fresh.
        DeviceError: the chip failed.
    """
    _require_fresh(bench, state)
    captured = None if state.learnt else bench.captured
    options = replace(bench.options.capture, seed=bench.options.seed + number)
    record = options.record if captured is None else captured.record
    if record == "outputs":
        state = _from_outputs(bench, state, {} if captured is None else captured.outputs)
    else:
        known: Iterable[tuple[int, LayerCapture]]
        if captured is None:
            known = layer_by_layer(
                bench.session(state), bench.train, options, only=only, progress=bench.progress
            )
        else:
            known = bench.progress(list(captured.layers.items()), "identifying cells")
        # Nobody else holds what was known of the cells, so it goes layer by layer.
        estimates, state = dict(state.estimates), replace(state, estimates={})
        _from_layers(bench, state, estimates, known)
        state = replace(state, estimates=estimates)
    state = replace(state, learnt=state.learnt + 1)
    return state if bench.has_chip else judge(bench, state, "as captured")


def _require_fresh(bench: Bench, state: State) -> None:
    """What cells are found to hold must be all that the digital side works with.

    Raises:
        UsageError: it makes up for drift besides.
    """
    note = state.image.drift
    if note is None:
        return
    age_s = None if bench.device is None else age_of(bench.device)
    if age_s is None or age_s > note.ages_s[0]:
        raise UsageError(
            "cells are identified on fresh dies only where the digital side follows drift",
            where=state.image.model.name,
            hint="take --strategy affine; or take the compensation off with `pimc compensate "
            "--off`, recover, and learn it again with --from",
        )


def _from_layers(
    bench: Bench,
    state: State,
    estimates: dict[int, CellEstimate],
    captured: Iterable[tuple[int, LayerCapture]],
) -> None:
    """From the codes of tiles, or from the sums of layers; one after the other is looked at.

    Args:
        estimates: what was known, which goes as more is known.
    """
    bound = bench.session(state).layers
    for index, record in captured:
        layer, known = state.image.layers[index], estimates[index]
        estimates[index] = (
            identify(known, state.image, layer, record)
            if len(record.codes)
            else identify_sums(known, state.image, bound[layer.name], record)
        )


def _from_outputs(
    bench: Bench, state: State, given: Mapping[str, npt.NDArray[np.float32]]
) -> State:
    student = bench.student(state)
    missing = set(student.outputs) - set(given)
    if missing:
        raise CaptureError(
            f"the network's output {missing.pop()} was not recorded",
            hint="capture again, with all outputs",
        )
    generator = state.generator()
    estimates = identify_outputs(
        state.image,
        state.estimates,
        student,
        bench.train,
        [torch.from_numpy(given[name]) for name in student.outputs],
        outputs_noise(bench, state.image, student.twin),
        generator,
        progress=bench.progress,
    )
    return replace(state, estimates=estimates).drawn(generator)
