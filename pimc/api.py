"""The front door in Python: what the commands do, as functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pimc.chip import Chip
from pimc.data import Dataset
from pimc.errors import DataError, UsageError
from pimc.faults import FaultMap
from pimc.image import Image
from pimc.passes.emit import emit
from pimc.passes.frontend import load_model
from pimc.passes.map_cells import MapCells
from pimc.passes.pack import Pack, Packing
from pimc.passes.partition import Partition
from pimc.passes.pipeline import Pass, run
from pimc.passes.place import Placement
from pimc.passes.quantize import Calibration, Quantize
from pimc.passes.schedule import Scheduling
from pimc.passes.simplify import Simplify
from pimc.passes.tile import Tiling
from pimc.plan import Plan

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir
    import torch

#: Calibration images that the compiler looks at, evenly spread over those given.
CALIBRATION_IMAGES = 64


@dataclass(frozen=True)
class Options:
    """What a user can choose about compiling; goes into the image's manifest.

    Attributes:
        packing: ``dense`` (fewest arrays) or ``single`` (one tile an array).
        feedback: error-feedback rounding where there is calibration data.
        write_noise: how much of the programming errors' variance the clipping reckons with.
        digital: names or globs of layers that stay off the array.
        teacher: keep the float weights in the image, which recovery distills from.
        calibration_images: images that the compiler looks at.
    """

    packing: Packing = "dense"
    feedback: bool = True
    write_noise: float = 0.0
    digital: tuple[str, ...] = ()
    teacher: bool = True
    calibration_images: int = CALIBRATION_IMAGES


def passes(
    options: Options, calibration: Calibration | None, faults: FaultMap | None
) -> list[Pass]:
    """The compiler's passes in order."""
    return [
        Simplify(),
        Partition(digital=options.digital),
        Quantize(calibration, options.feedback, options.write_noise),
        Tiling(),
        Pack(options.packing),
        Placement(),
        MapCells(faults),
        Scheduling(),
    ]


def compile(
    model: str | Path | bytes | onnx.ModelProto | ir.Model,
    chip: Chip | str | Path | None = None,
    *,
    calib: npt.NDArray[Any] | Dataset | None = None,
    faults: FaultMap | None = None,
    options: Options | None = None,
    dump_dir: str | Path | None = None,
    timed: Callable[[str, float], None] = lambda name, seconds: None,
) -> Image:
    """Compile an ONNX model to a chip image.

    Args:
        chip: a chip, the name of a shipped one or a chip file; the default chip if None.
        calib: inputs of the network, (N, *input shape), or a dataset; without them input
            ranges are dynamic.
        faults: known faults of the die the image is for.
        timed: told each pass's name and seconds.

    Raises:
        ModelError: the model cannot be read or compiled.
        ChipError: the chip is malformed or cannot hold the network.
        DataError: the calibration data does not fit the model.
    """
    options = options or Options()
    chip = chip if isinstance(chip, Chip) else Chip.load(chip) if chip else Chip.default()
    plan = load_model(model)
    calibration = None if calib is None else calibration_on(plan, calib, options)
    steps = passes(options, calibration, faults)
    folder = Path(dump_dir) if dump_dir is not None else None
    plan = run(plan, chip, steps, dump_dir=folder, timed=timed)
    chosen = {
        "packing": options.packing,
        "feedback": options.feedback,
        "write_noise": options.write_noise,
        "digital": list(options.digital),
        "calibrated": calib is not None,
    }
    return emit(plan, chip, chosen, teacher=options.teacher)


def calibration_on(plan: Plan, calib: npt.NDArray[Any] | Dataset, options: Options) -> Calibration:
    """How the quantizer runs a network on ``calib``: in float64, on some of the images.

    Raises:
        DataError: the data does not fit the model.
    """
    name, shape = _single_input(plan.graph)
    count = len(calib)
    chosen = np.unique(
        np.linspace(0, count - 1, min(count, options.calibration_images)).astype(int)
    )
    values = calib.subset(chosen).all() if isinstance(calib, Dataset) else np.asarray(calib)[chosen]
    _check_input(values, name, shape)

    def evaluate(graph: ir.Model, on_array: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
        import torch

        from pimc.runtime.executor import Executor

        def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
            return on_array(node.attributes["layer"].as_string(), x)

        with torch.inference_mode():
            executor = Executor(graph, array=array, dtype=torch.float64)
            executor.run({name: torch.from_numpy(values).double()})

    return evaluate


def input_shape(graph: ir.Model) -> tuple[str, tuple[int | None, ...]]:
    """Name and shape of the network's only input; None for dimensions that may vary.

    Raises:
        UsageError: the network has several inputs.
    """
    return _single_input(graph)


def _single_input(graph: ir.Model) -> tuple[str, tuple[int | None, ...]]:
    inputs = graph.graph.inputs
    if len(inputs) != 1 or inputs[0].shape is None:
        names = ", ".join(str(value.name) for value in inputs)
        raise UsageError(
            f"the network has the inputs {names or 'none'}",
            hint="data files describe one input; use the Python interface for several",
        )
    dims = tuple(dim if isinstance(dim, int) else None for dim in inputs[0].shape.dims)
    return str(inputs[0].name), dims


def _check_input(values: npt.NDArray[Any], name: str, shape: Sequence[int | None]) -> None:
    fits = values.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape[1:], values.shape[1:], strict=True)
    )
    if not fits:
        wanted = ["N", *("?" if d is None else d for d in shape[1:])]
        raise DataError(
            f"shape {list(values.shape)} does not fit the model's {wanted}",
            where=f"calibration data for input {name}",
            hint="give data of the model's input shape, or state its layout",
        )
    if not np.isfinite(values).all():
        raise DataError("there are NaN or infinite values", where="calibration data")
