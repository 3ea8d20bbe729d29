"""``pimc.sweep`` and ``pimc.compare``: chips of a grid, and strategies of recovery side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pimc import api
from pimc.chip.design import Chip
from pimc.chip.grid import Axis, as_text, parse_axis, points
from pimc.functions.evaluate import DIES, AnyTask, batches_of, seeds_of, task_of
from pimc.functions.given import AnyData, data_of, dataset_of, image_of
from pimc.image.image import Image
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.strategies import strategies as known_strategies
from pimc.passes.recover.strategies import strategy_named
from pimc.progress import Progress, silent
from pimc.studies.compare import Outcome
from pimc.studies.compare import compare as compared
from pimc.studies.drawn import FRESH, Reading
from pimc.studies.evaluate import Batches
from pimc.studies.sweep import Setup, Swept
from pimc.studies.sweep import sweep as swept
from pimc.work.memory import bytes_of
from pimc.work.pool import Here, Pool

if TYPE_CHECKING:
    from pimc.api import Model

__all__ = ["compare", "sweep"]


def sweep(
    model: Model,
    over: Mapping[str, Sequence[Any]] | Sequence[Axis],
    data: AnyData | Batches,
    *,
    chip: Chip | str | Path | None = None,
    calib: AnyData | None = None,
    dies: int | Sequence[int] = DIES,
    seed: int = 0,
    reading: Reading = FRESH,
    task: AnyTask = None,
    output: str | Path | None = None,
    pool: Callable[[], Pool] = Here,
    progress: Progress = silent,
) -> Swept:
    """Compile a network for every chip of a grid and measure it on several dies.

    Args:
        model: as of :func:`pimc.compile`.
        over: parameters and the values they take: ``{"levels": [8, 16], "adc.bits": [6, 8]}``.
        data: labelled samples.
        chip: the chip whose parameters are varied; the default one if None.
        calib: inputs to choose ranges on.
        dies: how many dies are drawn from ``seed`` on, or their seeds.
        seed: of the first die.
        reading: how dies are read.
        task: what outputs mean, or its name; classification if None. Batches have theirs.
        output: a ``.csv`` or ``.parquet`` file; the points that it holds are not measured again,
            and after an interruption the same call goes on. Nothing is kept if None.
        pool: opens the place where dies are measured.
        progress: told of the dies.

    Raises:
        UsageError: no such parameter or value; the file is of another sweep.
        ModelError, ChipError: the model, or the chip that is varied, cannot be read.
        DataError: data that do not fit the network.
        WorkerError: workers die again and again.
    """
    base = chip if isinstance(chip, Chip) else Chip.load(chip) if chip else Chip.default()
    axes = _axes(over) if isinstance(over, Mapping) else over
    first = api.read(model)
    inputs = first.graph.graph.inputs
    batches = (
        data
        if isinstance(data, Batches)
        else Batches(dataset_of(data, inputs, "test"), task=task_of(task))
    )
    if calib is not None:
        calib = api.without_states(first, dataset_of(calib, inputs), progress)
    setup = Setup(first, base, calib, batches, seeds_of(dies, seed), reading)
    grid = points(base, axes)
    if output is not None:
        return swept(setup, grid, Path(output), pool, progress)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return swept(setup, grid, Path(folder) / "sweep.csv", pool, progress)


def compare(
    image: Image | str | Path,
    calib: AnyData,
    data: AnyData | Batches | None = None,
    *,
    strategies: Sequence[str] | None = None,
    dies: int | Sequence[int] = 1,
    seed: int = 0,
    options: RecoverOptions | None = None,
    task: AnyTask = None,
    device: str = "sim",
    pool: Pool | None = None,
    memory: int | str | None = None,
    progress: Progress = silent,
) -> list[Outcome]:
    """Recover simulated dies by several strategies, each from the freshly programmed die on.

    Args:
        image: an image or its file.
        calib: calibration inputs.
        data: labelled samples, measured before and after, and never used for any choice.
        strategies: their names; all that are installed if None.
        dies: how many dies are drawn from ``seed`` on, or their seeds.
        seed: of the first die.
        options: what a recovery may do; the defaults if None.
        task: of ``data``, as of :func:`sweep`.
        device: name of the driver whose dies they are.
        pool: where recoveries are done; in this process if None.
        memory: as of :func:`pimc.recover_dies`.
        progress: told of the recoveries.

    Returns:
        One outcome a strategy and die, strategy by strategy.

    Raises:
        UsageError: no such strategy.
        PimcError: what :func:`pimc.recover` raises.
    """
    loaded = image_of(image)
    names = list(strategies or (found.name for found in known_strategies()))
    for name in names:
        strategy_named(name)
    return compared(
        loaded,
        data_of(calib, loaded),
        None if data is None else batches_of(data, loaded, task, progress),
        names,
        seeds_of(dies, seed),
        options or RecoverOptions(),
        driver=device,
        pool=pool,
        memory=None if memory is None else bytes_of(memory),
        progress=progress,
    )


def _axes(over: Mapping[str, Sequence[Any]]) -> list[Axis]:
    """The parameters, checked as those of the command are."""
    return [parse_axis(f"{name}={','.join(map(as_text, over[name]))}") for name in over]
