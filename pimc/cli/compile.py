"""``pimc compile`` and ``pimc check``."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.chip_options import chip_options, chosen_chip
from pimc.cli.common import (
    FILE,
    PACKING,
    Report,
    Settings,
    command,
    data_options,
    explain_option,
    partition_options,
)
from pimc.cli.text import facts, percent, room, table

if TYPE_CHECKING:
    from pimc.data.dataset import Dataset
    from pimc.plan.records import Plan

__all__ = ["check", "compile_"]


@command("compile")
@click.argument("model", type=FILE)
@chip_options
@click.option("--calib", type=FILE, metavar="DATA", help="Inputs to choose the ranges on.")
@data_options
@click.option("--faults", type=FILE, metavar="CSV", help="Known faults of the die: array,row,col.")
@click.option(
    "--packing",
    type=PACKING,
    metavar="dense|parallel|single|N",
    help="Fewest arrays, fewest read steps, one tile an array, or N read steps a layer and array."
    "  [default: dense; with --copies parallel]",
)
@click.option(
    "--copies",
    type=click.IntRange(1),
    metavar="N",
    help="Spend up to N arrays, also on copies of the layers that take longest.",
)
@click.option(
    "--phases", is_flag=True, help="Cut what is larger than the chip; else it is refused."
)
@partition_options
@click.option(
    "--harden", is_flag=True, help="Train the weights for the chip's write errors; needs --calib."
)
@click.option("--no-teacher", is_flag=True, help="Leave the float weights out of the image.")
@click.option("--no-feedback", is_flag=True, help="Round every weight on its own.")
@click.option(
    "--write-noise",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Share of the variance of write errors that ranges of weights reckon with; less where"
    " recovery follows.",
)
@explain_option
@click.option("--dump-dir", type=FILE, metavar="DIR", help="Write the plan after every pass.")
@click.option("--stop-after", metavar="PASS", help="Stop there; no image is written.")
@click.option("-o", "--output", type=FILE, help="Default: MODEL.pimc in the current folder.")
def compile_(settings: Settings, model: Path, **chosen: Any) -> Report:
    """Compile MODEL.onnx to a chip image.

    With --calib input ranges are fixed and weights rounded for the inputs the network really
    sees; without, every input vector is scaled on its own.
    """
    from pimc import api
    from pimc.chip.fault_map import FaultMap
    from pimc.cli.look import explanations
    from pimc.errors import UsageError
    from pimc.image.summary import summarize
    from pimc.passes.graph.frontend import load_model

    start = time.perf_counter()
    if chosen["harden"] and (chosen["calib"] is None or chosen["no_teacher"]):
        raise UsageError(
            "--harden trains toward the float network on calibration data",
            hint="give --calib, and leave out --no-teacher",
        )
    output = _output(model, chosen["output"])
    chip = chosen_chip(chosen)
    options = api.Options(
        packing=chosen["packing"] or ("parallel" if chosen["copies"] else "dense"),
        copies=chosen["copies"],
        phases=chosen["phases"],
        feedback=not chosen["no_feedback"],
        write_noise=chosen["write_noise"],
        digital=chosen["digital"],
        array_only=chosen["array_only"],
        teacher=not chosen["no_teacher"],
    )
    faults = None if chosen["faults"] is None else FaultMap.load(chosen["faults"])
    _check_preprocess(chosen["calib"], chosen["preprocess"])
    loaded = load_model(model)
    timings: dict[str, float] = {}
    arguments = {
        "calib": _calibration(loaded, chosen["calib"], chosen["preprocess"]),
        "faults": faults,
        "options": options,
        "dump_dir": chosen["dump_dir"],
        "timed": timings.__setitem__,
        "progress": settings.progress,
    }
    if chosen["stop_after"] is not None:
        api.plan(loaded, chip, stop_after=chosen["stop_after"], **arguments)
        seconds = time.perf_counter() - start
        data = {"stopped_after": chosen["stop_after"], "output": None, "passes": timings}
        text = f"stopped after {chosen['stop_after']}; no image was written\n{_passes(timings)}"
        return Report(data | _resources(seconds), text, answer=False)
    if chosen["harden"]:
        from pimc.passes.recover.train.harden import hardened

        image = api.compile(loaded, chip, **arguments)
        image = hardened(image, arguments["calib"], seed=settings.seed, progress=settings.progress)
        image.save(output)
    else:
        image = api.compile(loaded, chip, output=output, **arguments)
    summary = summarize(image) | {"output": str(output), "passes": timings}
    summary |= _resources(time.perf_counter() - start)
    text = _compiled(summary)
    if chosen["explain"]:
        text += explanations(summary, chip)
    return Report(summary, text, answer=False)


@command("check")
@click.argument("model", type=FILE)
@partition_options
@click.option("--all", "every", is_flag=True, help="List nodes without weights one by one, too.")
def check(
    settings: Settings, model: Path, digital: tuple[str, ...], array_only: bool, every: bool
) -> Report:
    """What of MODEL.onnx goes on the array, what stays digital, what is refused, and why.

    Exits with 1 if the model cannot be compiled.
    """
    from dataclasses import asdict

    from pimc.passes.array.judge import array_share, classify, refusal
    from pimc.passes.graph.frontend import load_model
    from pimc.passes.lower.lowering import Lower
    from pimc.passes.simplify.simplify import Simplify

    plan = Lower()(Simplify()(load_model(model)))
    reports = classify(plan, digital, array_only=array_only)
    share = array_share(reports)
    error = refusal(reports, plan.model_name)
    counts = {kind: sum(r.where == kind for r in reports) for kind in _PLACES}
    data = {
        "ok": error is None,
        "model": plan.model_name,
        **counts,
        "array_share": share,
        "nodes": [asdict(report) for report in reports],
    }
    unknown = "unknown, as not all shapes and numbers of steps are known"
    total = unknown if share is None else percent(share, 1)
    parts = [
        f"{plan.model_name}: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()),
        f"multiply-accumulates on the array: {total}",
    ]
    for kind in ("refused", "array", "digital"):
        told = [r for r in reports if r.where == kind and (every or r.fix or kind != "digital")]
        lines = [r.line() for r in told]
        if lines:
            parts.append(f"\n{kind} ({_PLACES[kind]})\n  " + "\n  ".join(lines))
    others = Counter(r.op for r in reports if r.where == "digital" and not r.fix)
    if others and not every:
        listed = ", ".join(f"{count} {op}" for op, count in sorted(others.items()))
        parts.append(f"\ndigital without weights: {listed}")
    if error is not None:
        parts.append(f"\n{plan.model_name} {error.message}")
    return Report(data, "\n".join(parts), exit_code=0 if error is None else 1)


_PLACES = {
    "array": "weights become cells",
    "digital": "computed beside the array",
    "refused": "nobody can run it",
}


def _output(model: Path, given: Path | None) -> Path:
    from pimc.errors import UsageError

    output = given or Path(f"{model.stem}.pimc")
    if output.exists() and model.exists() and output.samefile(model):
        raise UsageError("the image would replace the model", str(output), "choose another -o")
    return output


def _check_preprocess(path: Path | None, preprocess: dict[str, Any]) -> None:
    from pimc.errors import UsageError

    if path is None and preprocess:
        names = ", ".join(f"--{name}" for name in preprocess)
        raise UsageError(f"{names} given without --calib", hint="name the data with --calib")


def _calibration(plan: Plan, path: Path | None, preprocess: dict[str, Any]) -> Dataset | None:
    from pimc.data.dataset import load_data
    from pimc.data.inputs import declared_shape

    if path is None:
        return None
    shape = declared_shape(plan.graph.graph.inputs)
    return load_data(path, overrides=preprocess, input_shape=shape)


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


def _passes(timings: dict[str, float]) -> str:
    return "  ".join(f"{name} {seconds:.2f} s" for name, seconds in timings.items())


def _compiled(summary: dict[str, Any]) -> str:
    from pimc.cli.look import LAYER_COLUMNS, layer_rows, summary_facts

    pairs = [
        *summary_facts(summary),
        ("passes", _passes(summary["passes"])),
        ("took", f"{summary['seconds']:.1f} s, {summary['peak_rss_mb'] or 0:,.0f} MB"),
        ("written", summary["output"]),
    ]
    layers = table(LAYER_COLUMNS, layer_rows(summary), limit=room(len(pairs) + 4))
    return f"{layers}\n\n{facts(pairs)}"
