"""``pimc compile``: ONNX model to chip image."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.command import Report, Settings, command, note
from pimc.cli.compiling.spent import draw_front, result_of, text_of
from pimc.cli.compiling.weights import WeightOptions
from pimc.cli.compiling.within import WithinOptions, chosen
from pimc.cli.options.chip import ChipOptions
from pimc.cli.options.data import DataOptions
from pimc.cli.options.fields import argument, flag, group, option, several
from pimc.cli.options.model import ModelOptions
from pimc.cli.options.partition import PartitionOptions
from pimc.cli.options.single import explain_option
from pimc.cli.options.values import FILE, PACKING
from pimc.cli.summary import explanations, layer_table, summary_facts
from pimc.cli.text import facts, room, states_text, told_of_states

if TYPE_CHECKING:
    from pimc import api
    from pimc.chip.design import Chip
    from pimc.data.dataset import Dataset
    from pimc.passes.layout.pack import Packing
    from pimc.plan.records import Plan
    from pimc.studies.spending.choice import Choice

__all__ = ["COMMAND", "CompileArguments", "compile_"]


#: What a network compiled without data pays for it.
_WITHOUT_DATA = (
    "compiled without --calib: every input vector is scaled on its own, and ADC ranges have room "
    "for inputs of any kind, so that outputs are coarser than with data"
)


#: Dies as the summary speaks of them.
_PURPOSES = {"recovery": "that is recovered", "as-programmed": "as it was programmed"}


@dataclass(frozen=True)
class CompileArguments:
    """What ``pimc compile`` takes."""

    model: Path = argument(type=FILE)
    reading: ModelOptions = group(ModelOptions)
    chip: ChipOptions = group(ChipOptions)
    calib: Path | None = option(
        "--calib", type=FILE, metavar="DATA", help="Inputs to choose the ranges on."
    )
    preprocess: DataOptions = group(DataOptions)
    faults: tuple[Path, ...] = several(
        "--faults",
        type=FILE,
        metavar="CSV",
        help="Known faults of the die: array,row,col,fault; may be given again.",
    )
    packing: Packing | None = option(
        "--packing",
        type=PACKING,
        metavar="dense|parallel|single|N",
        help="Fewest arrays, fewest read steps, one tile an array, or N read steps a layer and"
        " array.  [default: dense; with --copies parallel]",
    )
    copies: int | None = option(
        "--copies",
        type=click.IntRange(1),
        metavar="N",
        help="Spend up to N arrays, also on copies of the layers that take longest.",
    )
    phases: bool = flag("--phases", help="Cut what is larger than the chip; else it is refused.")
    partition: PartitionOptions = group(PartitionOptions)
    within: WithinOptions = group(WithinOptions)
    weights: WeightOptions = group(WeightOptions)
    no_teacher: bool = flag("--no-teacher", help="Leave the float weights out of the image.")
    explain: bool = explain_option()
    own_passes: tuple[str, ...] = several(
        "--pass",
        type=click.STRING,
        metavar="NAME[:after=STAGE]",
        help="Run an installed pass of one's own, too; may be given again.",
    )
    dump_dir: Path | None = option(
        "--dump-dir", type=FILE, metavar="DIR", help="Write the plan after every pass."
    )
    stop_after: str | None = option(
        "--stop-after", type=click.STRING, metavar="PASS", help="Stop there; no image is written."
    )
    output: Path | None = option(
        "-o", "--output", type=FILE, help="Default: MODEL.pimc in the current folder."
    )


def compile_(settings: Settings, arguments: CompileArguments) -> Report:
    """Compile MODEL.onnx to a chip image.

    With --calib input ranges are fixed and weights rounded for the inputs the network really
    sees; without, every input vector is scaled on its own.
    """
    from pimc import api
    from pimc.chip.fault_map import FaultMap
    from pimc.image.summary import summarize
    from pimc.passes.graph.frontend import load_model
    from pimc.passes.own import installed_passes
    from pimc.passes.quantize.adc_choice import with_ranges

    start = time.perf_counter()
    weights = arguments.weights
    weights.check(calib=arguments.calib is not None, teacher=not arguments.no_teacher)
    clashes = {
        "--learn-rounding": weights.learn_rounding,
        "--harden": weights.harden,
        "--no-teacher": arguments.no_teacher,
        "--stop-after": arguments.stop_after is not None,
        "--dump-dir": arguments.dump_dir is not None,
    }
    arguments.within.check(calib=arguments.calib is not None, others=clashes)
    output = _output(arguments.model, arguments.output)
    chip = with_ranges(arguments.chip.load(), weights.adc_range)
    options = _options(arguments)
    passes = installed_passes(arguments.own_passes)
    found = [FaultMap.load(path) for path in arguments.faults]
    faults = FaultMap.joined(found) if found else None
    _check_preprocess(arguments)
    loaded = load_model(arguments.model, follow_links=arguments.reading.follow_links)
    timings: dict[str, float] = {}
    calib = _calibration(loaded, settings, arguments)
    work: dict[str, Any] = {
        "model": loaded,
        "chip": chip,
        "calib": calib,
        "faults": faults,
        "options": options,
        "passes": passes,
        "dump_dir": arguments.dump_dir,
        "timed": timings.__setitem__,
        "progress": settings.progress,
    }
    if arguments.stop_after is not None:
        api.plan(**work, stop_after=arguments.stop_after)
        return _stopped(arguments.stop_after, timings, time.perf_counter() - start)
    choice: Choice | None = None
    if arguments.within.max_drop is not None and calib is not None:
        choice = chosen(arguments.within, loaded, chip, calib, options, passes, faults, settings)
        image = choice.image
        image.save(output)
        if arguments.within.front is not None:
            draw_front(arguments.within.front, choice, arguments.within, chip.name)
    elif weights.harden and calib is not None:
        from pimc.passes.recover.train.harden import hardened

        image = api.compile(**work)
        image = hardened(image, calib, seed=settings.seed, progress=settings.progress)
        image.save(output)
    else:
        image = api.compile(**work, output=output)
    summary = summarize(image) | {"output": str(output), "passes": timings}
    summary["notes"] = [*loaded.notes, *([] if calib is not None else [_WITHOUT_DATA])]
    summary["notes"] += image.options.get("learn_rounding", [])
    if calib is not None:
        seen = calib if choice is None else choice.ranges_on
        summary["calibration"] = _looked_at(seen, options)
        summary |= told_of_states(calib)
    summary |= _resources(time.perf_counter() - start)
    return _told(summary, choice, arguments, chip, settings)


def _told(
    summary: dict[str, Any],
    choice: Choice | None,
    arguments: CompileArguments,
    chip: Chip,
    settings: Settings,
) -> Report:
    """What was compiled, and how mappings were chosen where they were."""
    text = _compiled(summary)
    if choice is not None:
        summary["within"] = result_of(choice, arguments.within)
        text += "\n\n" + text_of(choice, arguments.within, room(len(summary["layers"]) + 30))
    if arguments.explain:
        text += explanations(summary, chip)
    for told in summary["notes"]:
        note(f"note: {told}", settings)
    failed = choice is not None and not choice.reached
    return Report(summary, text, exit_code=1 if failed else 0, answer=False)


COMMAND = command(
    "compile",
    CompileArguments,
    compile_,
    example="pimc compile model.onnx --array 128x128 --calib data",
    slow=True,
)


def _looked_at(calib: Dataset, options: api.Options) -> dict[str, int]:
    """How many calibration samples there are, and how many of them ranges and codes stand on."""
    return {"samples": len(calib), "used": min(len(calib), options.calibration_images)}


def _options(arguments: CompileArguments) -> api.Options:
    from pimc import api

    return api.Options(
        packing=arguments.packing or ("parallel" if arguments.copies else "dense"),
        copies=arguments.copies,
        phases=arguments.phases,
        digital=arguments.partition.digital,
        mapping=arguments.chip.of_layers,
        array_only=arguments.partition.array_only,
        teacher=not arguments.no_teacher,
        **arguments.weights.chosen,
    )


def _output(model: Path, given: Path | None) -> Path:
    from pimc.errors import UsageError

    output = given or Path(f"{model.stem}.pimc")
    if output.exists() and model.exists() and output.samefile(model):
        raise UsageError("the image would replace the model", str(output), "choose another -o")
    return output


def _check_preprocess(arguments: CompileArguments) -> None:
    from pimc.errors import UsageError
    from pimc.extras import require

    trained = {
        "--harden": arguments.weights.harden,
        "--learn-rounding": arguments.weights.learn_rounding,
        "--max-drop": arguments.within.max_drop is not None,
    }
    for name, given in trained.items():
        if given:
            require("torch", what=name)
    if arguments.within.front is not None:
        require("matplotlib", what="--front")
    settings = arguments.preprocess.given
    if arguments.calib is None and settings:
        names = ", ".join(f"--{name}" for name in settings)
        raise UsageError(f"{names} given without --calib", hint="name the data with --calib")


def _calibration(plan: Plan, settings: Settings, arguments: CompileArguments) -> Dataset | None:
    if arguments.calib is None:
        return None
    from pimc import api

    calib = arguments.preprocess.load(arguments.calib, plan.graph.graph.inputs)
    return api.without_states(plan, calib, settings.progress)


def _stopped(last: str, timings: Mapping[str, float], seconds: float) -> Report:
    data = {"stopped_after": last, "output": None, "passes": timings}
    text = f"stopped after {last}; no image was written\n{_passes(timings)}"
    return Report(data | _resources(seconds), text, answer=False)


def _resources(seconds: float) -> dict[str, float | None]:
    return {"seconds": round(seconds, 3), "peak_rss_mb": _peak_rss_mb()}


def _peak_rss_mb() -> float | None:
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _passes(timings: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {seconds:.2f} s" for name, seconds in timings.items())


def _counted(calibration: dict[str, int] | None) -> str:
    """How many samples were looked at; nothing where none were given."""
    if calibration is None:
        return ""
    return f"{calibration['used']:,} of {calibration['samples']:,} samples"


def _compiled(summary: dict[str, Any]) -> str:
    pairs = [
        *summary_facts(summary),
        ("calibrated on", _counted(summary.get("calibration"))),
        ("states", states_text(summary)),
        ("compiled for", "a die " + _PURPOSES[summary["options"]["purpose"]]),
        ("passes", _passes(summary["passes"])),
        ("took", f"{summary['seconds']:.1f} s, {summary['peak_rss_mb'] or 0:,.0f} MB"),
        ("written", summary["output"]),
    ]
    return f"{layer_table(summary, below=len(pairs))}\n\n{facts(pairs)}"
