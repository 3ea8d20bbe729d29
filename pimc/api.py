"""The front door in Python: what the commands do, as functions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip
from pimc.chip.fault_map import FaultMap
from pimc.data.dataset import Dataset, Feed, Preprocess
from pimc.data.inputs import fixed_batch, named_inputs
from pimc.data.preparation import Statistics
from pimc.errors import UsageError
from pimc.extras import require
from pimc.files.writing.atomic import sha256_array
from pimc.image.format.notes import CalibrationNote, InputNote
from pimc.image.format.sections import compile_options
from pimc.image.image import Image
from pimc.passes.calibrate.network import run as run_network
from pimc.passes.calibrate.network import unknown_in
from pimc.passes.emit.emit import emit, emit_to
from pimc.passes.graph.from_torch import EXAMPLES, exported, is_module
from pimc.passes.graph.frontend import load_model
from pimc.passes.graph.malformed import blaming
from pimc.passes.options import CALIBRATION_IMAGES, Options
from pimc.passes.own import OwnPasses, passes_for
from pimc.passes.pipeline import run
from pimc.passes.quantize.learn import Learner, told
from pimc.passes.quantize.quantize import Calibration
from pimc.passes.stages import Choices
from pimc.plan.records import Plan, array_nodes, layer_of
from pimc.progress import Progress, silent, ticking

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir
    import torch

    from pimc.passes.graph.from_torch import Examples

    Calib = npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]] | Dataset

    File = str | Path | bytes | onnx.ModelProto | ir.Model | torch.onnx.ONNXProgram
    Model = File | torch.nn.Module | torch.export.ExportedProgram | Plan

Array64 = npt.NDArray[np.float64]

__all__ = ["CALIBRATION_IMAGES", "Options", "calibration_on", "compile", "plan", "read"]


def plan(
    model: Model,
    chip: Chip | str | Path | None = None,
    *,
    calib: Calib | None = None,
    example_inputs: Examples | None = None,
    faults: FaultMap | None = None,
    options: Options | None = None,
    passes: OwnPasses | None = None,
    dump_dir: str | Path | None = None,
    stop_after: str | None = None,
    follow_links: bool = False,
    timed: Callable[[str, float], None] = lambda name, seconds: None,
    progress: Progress = silent,
) -> Plan:
    """What the compiler knows of a network on a chip after its passes.

    Args:
        stop_after: name of the last pass to run; all of them if None.

    The other arguments and what is raised are those of :func:`compile`; UsageError too, if
    ``stop_after`` names no pass.
    """
    options = options or Options()
    if dump_dir is not None:
        require("networkx", what="a folder of dumps")
    first = read(model, example_inputs, calib, follow_links=follow_links)
    calib = None if calib is None else without_states(first, calib, progress)
    calibration = None if calib is None else calibration_on(first, calib, options, progress)
    learner = None if calib is None else _learner_on(calib, options, progress)
    with blaming(first.graph, first.model_name):
        return run(
            first,
            _chip(chip),
            passes_for(first, Choices(options, calibration, faults, learner), passes),
            dump_dir=Path(dump_dir) if dump_dir is not None else None,
            stop_after=stop_after,
            timed=timed,
        )


def compile(
    model: Model,
    chip: Chip | str | Path | None = None,
    *,
    calib: Calib | None = None,
    example_inputs: Examples | None = None,
    faults: FaultMap | None = None,
    options: Options | None = None,
    passes: OwnPasses | None = None,
    dump_dir: str | Path | None = None,
    follow_links: bool = False,
    timed: Callable[[str, float], None] = lambda name, seconds: None,
    progress: Progress = silent,
    output: str | Path | None = None,
) -> Image:
    """Compile an ONNX model, or a PyTorch module, to a chip image.

    Args:
        model: an ``.onnx`` file, its bytes, a model in memory, a ``torch.nn.Module`` or what
            torch's exporters made of one, or a plan: what ``load_model`` made of one, or what some
            passes did, of which the others are then run.
        chip: a chip, the name of a shipped one or a chip file; the default chip if None.
        calib: inputs of the network, (N, *input shape), of several by their names, or a dataset;
            without them input ranges are dynamic.
        example_inputs: what a ``torch.nn.Module`` is exported with: a tensor or array, several in
            the order of ``forward``, or by the names of its arguments; samples first. Taken from
            ``calib`` if None.
        faults: known faults of the die the image is for.
        passes: passes of one's own, by the stage that they follow: ``{"tile": [Mine()]}``. The
            image's options note them.
        dump_dir: where to write the plan after every pass.
        follow_links: take external data of ``model`` behind symbolic links, wherever they lead.
        timed: told each pass's name and seconds.
        progress: told of the layers while the network runs on the calibration data.
        output: where to write the image as it is worked out, so that it need not fit in memory;
            the image that comes back is read from there when it is looked at.

    Raises:
        ModelError: the model cannot be exported, read or compiled.
        ChipError: the chip is malformed or cannot hold the network.
        DataError: the calibration data does not fit the model.
        UsageError: calibration data for a network with a fixed number of samples; a PyTorch module
            without example inputs, or such for another model; passes of
            one's own that cannot run there; ``output`` cannot be written.
        PlanError: a pass of one's own failed, or broke a rule of the stages before it.
    """
    options, chip = options or Options(), _chip(chip)
    first = read(model, example_inputs, calib, follow_links=follow_links)
    calib = None if calib is None else without_states(first, calib, progress)
    finished = plan(
        first,
        chip,
        calib=calib,
        faults=faults,
        options=options,
        passes=passes,
        dump_dir=dump_dir,
        timed=timed,
        progress=progress,
    )
    calibrated = calib is not None
    chosen = asdict(options) | {
        "digital": list(options.digital),
        "purpose": options.serves(calibrated=calibrated),
        "write_noise": options.counted(calibrated=calibrated),
    }
    del (
        chosen["array_only"],
        chosen["phases"],
        chosen["copies"],
    )  # what they did is seen in the rest
    del chosen["learn_rounding"]
    if options.learn_rounding:
        chosen["learn_rounding"] = told(finished)
    for name in ("mapping", "adc_range", "rotate", "split_rows"):
        if not chosen[name]:
            del chosen[name]
    known = None if faults is None else _sha256(faults)
    chosen = compile_options(chosen, calibrated=calibrated, faults=known)
    inputs = finished.graph.graph.inputs
    noted = None if calib is None else _noted(_dataset(calib).on(inputs), options)
    with blaming(first.graph, first.model_name):
        if output is not None:
            return emit_to(
                output, finished, chip, chosen, teacher=options.teacher, calibration=noted
            )
        return emit(finished, chip, chosen, teacher=options.teacher, calibration=noted)


def _learner_on(calib: Calib, options: Options, progress: Progress) -> Learner | None:
    """How the quantizer's choices are trained on ``calib``; None where nobody asks for it."""
    if not options.learn_rounding:
        return None
    require("torch", what="learned rounding")
    from pimc.passes.recover.learn.learn import learned

    return learned(_dataset(calib), options, progress)


def read(
    model: Model,
    example_inputs: Examples | None = None,
    calib: Calib | None = None,
    *,
    follow_links: bool = False,
) -> Plan:
    """The first plan of a model of any kind; arguments and errors are those of :func:`compile`."""
    if is_module(model):
        if example_inputs is None and calib is not None:
            feed = _dataset(calib).feed(0, EXAMPLES)
            example_inputs = feed if len(feed) > 1 else tuple(feed.values())
        return load_model(exported(model, example_inputs))
    if example_inputs is not None:
        raise UsageError(
            "example inputs are for a torch.nn.Module", hint="leave them out: the model is ONNX"
        )
    return model if isinstance(model, Plan) else load_model(model, follow_links=follow_links)


def _chip(chip: Chip | str | Path | None) -> Chip:
    return chip if isinstance(chip, Chip) else Chip.load(chip) if chip else Chip.default()


def _dataset(calib: Calib) -> Dataset:
    return calib if isinstance(calib, Dataset) else Dataset.of(calib, name="calibration data")


def without_states(plan: Plan, calib: Calib, progress: Progress = silent) -> Dataset:
    """Data for a network with a state with every step as a sample, and the states before it.

    Other data are given back as they are.

    Raises:
        DataError, UsageError: as :func:`pimc.runtime.sequences.unrolled`.
    """
    data = _dataset(calib)
    if not data.is_sequential:
        return data
    require("torch", what="calibration of a network with a state")
    from pimc.runtime.network import GraphNetwork
    from pimc.runtime.sequences import unrolled

    return unrolled(data, GraphNetwork(plan.graph), progress)


def _chosen(data: Dataset, options: Options) -> Feed:
    """The inputs that ranges are chosen on."""
    count = min(len(data), options.calibration_images)
    chosen = np.linspace(0, len(data) - 1, count).astype(int)
    return data.subset(np.unique(chosen)).all_inputs()


def _noted(data: Dataset, options: Options) -> CalibrationNote:
    """What the image tells of its calibration data."""
    values = _chosen(data, options)
    samples = min(len(data), options.calibration_images)
    feeds = {} if data.states is None else data.states.feeds
    first, *others = (
        (name, _input_noted(column.how, values[name], samples))
        for name, column in data.columns.items()
        if name not in feeds
    )
    noted = {name: InputNote(**fields) for name, fields in others}
    return CalibrationNote(**first[1], classes=data.classes, others=noted, states=feeds)


def _input_noted(how: Preprocess, values: npt.NDArray[Any], samples: int) -> dict[str, Any]:
    """What the image tells of the calibration data of one input."""
    met = Statistics.of(values)
    return {
        "layout": how.layout,
        "scale": how.scale,
        "mean": how.mean,
        "std": how.std,
        "size": how.size,
        "samples": samples,
        "sha256": sha256_array(values),
        "channel_mean": met.mean,
        "channel_std": met.std,
        "low": met.low,
        "high": met.high,
        "resize": how.resize,
        "crop": how.crop,
        "interpolation": how.interpolation,
    }


def _sha256(faults: FaultMap) -> str:
    """SHA-256 of the lines ``array,row,col,fault`` in their order, without the header."""
    lines = (
        f"{f.array},{'*' if f.row is None else f.row},{'*' if f.col is None else f.col},{f.kind}\n"
        for f in faults.faults
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _picked(
    values: npt.NDArray[Any], some: npt.NDArray[Any], data: Dataset, name: str
) -> npt.NDArray[Any]:
    """Some of the samples of an input; what all share stays as it is."""
    shared = data.columns[name].shared
    return values if shared else np.take(values, some, axis=data.axes.get(name, 0))


def calibration_on(
    plan: Plan,
    calib: Calib,
    options: Options,
    progress: Progress = silent,
) -> Calibration:
    """How the quantizer runs a network on ``calib``: in float64, on some of the images.

    Raises:
        DataError: the data does not fit the model.
        UsageError: when the network runs, it takes a fixed number of samples.
    """
    data = _dataset(calib).on(plan.graph.graph.inputs)
    values, samples = _chosen(data, options), min(len(data), options.calibration_images)

    def evaluate(
        graph: ir.Model,
        on_array: Callable[[str, Array64], Array64],
        *,
        most: int | None = None,
    ) -> None:
        inputs = graph.graph.inputs
        # Asked here, because the passes before this one may have freed the batch dimension.
        sizes = {one.name: one.shape[0] if one.shape else None for one in named_inputs(inputs)}
        for name, size in sizes.items():
            if size not in (None, samples):
                raise fixed_batch(name, size)
        feed = values
        if most is not None and most < samples and set(sizes.values()) == {None}:
            some = np.linspace(0, samples - 1, most).astype(int)
            feed = {name: _picked(value, some, data, name) for name, value in values.items()}
        unknown = unknown_in(graph)
        with ticking(progress, "calibrating", len(array_nodes(graph))) as tick:

            def array(node: ir.Node, x: Array64) -> Array64:
                y = on_array(layer_of(node), x)
                tick()
                return y

            if unknown is None:
                run_network(graph, feed, array)
            else:
                require("torch", what=f"calibration of a network with {unknown}")
                _run_in_torch(graph, feed, array)

    return evaluate


def _run_in_torch(
    graph: ir.Model, feed: Feed, array: Callable[[ir.Node, Array64], Array64]
) -> None:
    """Run a network that :mod:`pimc.passes.calibrate` does not know all operators of."""
    import torch

    from pimc.runtime.feeds import in_double
    from pimc.runtime.graph.executor import Executor

    def called(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(array(node, x.numpy()))

    with torch.inference_mode():
        Executor(graph, array=called, dtype=torch.float64).run(in_double(feed))
