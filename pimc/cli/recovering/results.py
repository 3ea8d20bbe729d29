"""What ``pimc recover`` tells of a recovery, and the files beside the next image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimc.cli.command import Report
from pimc.cli.options.task import told_of
from pimc.cli.project.typed import typed_line
from pimc.cli.recovering.figures import agreement_text, basis_lines, intervals_of, loss_text
from pimc.cli.text import facts, percent, table

if TYPE_CHECKING:
    from pimc.image.image import Image
    from pimc.passes.recover.recovery import Recovery
    from pimc.tasks.metric import Metric
    from pimc.tasks.task import Task

__all__ = ["outcome", "report_of", "result_of", "write_files"]


def result_of(
    recovery: Recovery,
    output: Path,
    die_file: Path | None,
    reached: tuple[float | None, float | None],
    image: Image,
    task: Task,
    samples: int | None = None,
    beside: tuple[float | None, float | None] = (None, None),
) -> dict[str, Any]:
    """The entry of one die in the JSON; also its report.

    Args:
        output, die_file: where the next image and the die's state go.
        reached: accuracy, or the metric of another task, on labelled data, before and after.
        image: the image that was recovered.
        task: whose metric that is.
        samples: labelled ones that it was measured on.
        beside: the same of the float network and of perfect cells, where that is known by now.
    """
    from pimc.passes.recover.write.residual import residual_weights

    note = recovery.image.recovery
    assert note is not None  # that is what a recovery leaves
    held_out = recovery.basis.held_out
    (before, after), key = reached, task.metric.key
    return {
        "die": note.die,
        "strategy": recovery.strategy,
        "sha256": recovery.image.sha256,
        "command_line": typed_line(),
        "output": str(output),
        "die_file": None if die_file is None else str(die_file),
        f"{key}_before": before,
        f"{key}_after": after,
        **told_of(task),
        "samples": samples,
        f"float_{key}": beside[0],
        f"quantized_{key}": beside[1],
        "cells_total": int(image.used.sum()),
        "cells_rewritten": recovery.cells_rewritten,
        "residual_weights": residual_weights(recovery.image),
        "rounds": note.rounds,
        "measured_on_chip": recovery.measured,
        "record": recovery.record,
        "seconds": round(recovery.seconds, 3),
        "basis": asdict(recovery.basis),
        "verdict": asdict(recovery.verdict),
        "floor": asdict(recovery.floor) | intervals_of(recovery.floor, held_out),
        "findings": recovery.findings
        and {
            "faults": recovery.findings.counts(),
            "off_target": recovery.findings.off_target,
            "uncertainty_us": dict(recovery.findings.uncertainty_us),
            "away_us": recovery.findings.away_us,
            "known_us": recovery.findings.known_us,
            "before_us": recovery.findings.before_us,
            "unspanned": dict(recovery.findings.unspanned),
        },
        "stages": [vars(stage) | intervals_of(stage, held_out) for stage in recovery.stages],
    }


def write_files(recovery: Recovery, output: Path, result: dict[str, Any]) -> None:
    """Write the next image, its cells, its report and the faults that were found.

    Raises:
        UsageError: a file cannot be written.
    """
    import json

    from pimc.chip.fault_map import FaultMap
    from pimc.files.writing.atomic import replacing

    recovery.image.save(output)
    if recovery.findings and recovery.findings.faults:
        FaultMap(recovery.findings.faults).save(output.with_suffix(".faults.csv"))
    array = recovery.image.chip.array
    lines = ["array,row,col,level_before,level_after,round"]
    for cell, before, after, number in recovery.writes.tolist():
        line, col = divmod(cell, array.cols)
        lines.append(f"{line // array.rows},{line % array.rows},{col},{before},{after},{number}")
    with replacing(output.with_suffix(".cells.csv")) as stream:
        stream.write(("\n".join(lines) + "\n").encode())
    with replacing(output.with_suffix(".report.json")) as stream:
        stream.write((json.dumps(result, indent=1) + "\n").encode())


def report_of(
    results: list[dict[str, Any]],
    in_float: float | None,
    ideal: float | None,
    image: Image,
    task: Task,
    notes: Sequence[str] = (),
) -> Report:
    """What is told of all dies.

    Args:
        in_float, ideal: accuracy, or the task's metric, of the float network and perfect cells.
        notes: what was left out of what the user gave.
    """
    total, metric = results[0]["cells_total"], task.metric
    before, after = f"{metric.key}_before", f"{metric.key}_after"
    data = {
        **told_of(task),
        f"float_{metric.key}": in_float,
        f"quantized_{metric.key}": ideal,
        before: [result[before] for result in results],
        after: [result[after] for result in results],
        "cells_total": total,
        "cells_rewritten": max(result["cells_rewritten"] for result in results),
        "residual_weights": max(result["residual_weights"] for result in results),
        "rounds": max(result["rounds"] for result in results),
        "gained": [result["verdict"]["gained"] for result in results],
        "seconds": round(sum(result["seconds"] for result in results), 3),
        "dies": results,
        "notes": list(notes),
    }
    rows = [
        [
            result["die"],
            metric.text(result[before]),
            metric.text(result[after]),
            f"{result['cells_rewritten']:,} ({percent(result['cells_rewritten'] / total, 1)})",
            f"{result['seconds']:.0f} s",
            result["output"],
        ]
        for result in results
    ]
    better = "" if metric.key == "accuracy" else f"{metric.name}, {metric.direction} is better"
    head = facts(
        [
            ("metric", better),
            ("float", metric.text(in_float)),
            ("quantized", metric.text(ideal)),
            ("cells", f"{total:,}"),
        ]
    )
    digital = max(result["residual_weights"] for result in results)
    body = table(["die", "before", "after", "cells rewritten", "time", "next image"], rows)
    told = (
        *basis_lines(results[0]["basis"]),
        *(line for result in results for line in _of_die(result)),
    )
    body += "".join(f"\n{line}" for line in told)
    if digital:
        body += f"\n{digital:,} weights are added digitally, a multiply-add each an input vector"
    note = "" if results[0]["measured_on_chip"] else "\nprogram the cells, capture again, recover"
    end = outcome(results, in_float, task.metric)
    return Report(data, f"{head}\n\n{_stages(results)}{body}{note}\n\n{end}", answer=False)


_RECORDS = {
    "codes": "the codes of every tile",
    "sums": "the outputs of whole layers",
    "outputs": "the network's outputs alone",
}


def _of_die(result: dict[str, Any]) -> Iterator[str]:
    """What is told of one die."""
    yield from _found(result)
    yield from _judged(result)


def _judged(result: dict[str, Any]) -> Iterator[str]:
    """Whether one die is better than before, and what would help."""
    verdict, die = result["verdict"], result["die"]
    before, after = verdict["loss_before"], verdict["loss_after"]
    if not verdict["gained"] and len(result["stages"]) > 1:
        worse = "the die is worse than before" if after > before else "nothing was gained"
        yield f"{die}: {worse}: held-out loss {before:.4f} before, {after:.4f} after"
    for why in verdict["why"]:
        yield f"{die}: {why}"
    for hint in verdict["hints"]:
        yield f"{die}: what would help: {hint}"


def _found(result: dict[str, Any]) -> Iterator[str]:
    """What identification told of one die."""
    found, die = result["findings"], result["die"]
    if not found:
        return
    yield (
        f"{die}: cells differ from what was asked of them by {found['away_us']:.2f} µS; what each "
        f"holds is known to within {found['known_us']:.2f} µS, from {_RECORDS[result['record']]} "
        f"(without looking at the die: {found['before_us']:.2f} µS)"
    )
    if missed := sum(found["unspanned"].values()):
        yield f"{die}: no known input reached {missed:,} directions of rows: cells stay unknown"
    if found["faults"]:
        told = ", ".join(f"{count:,} {kind}" for kind, count in found["faults"].items())
        yield f"{die}: {told}; see {_beside(result['output'], '.faults.csv')}"


def _beside(output: str, suffix: str) -> str:
    return str(Path(output).with_suffix(suffix))


def _stages(results: list[dict[str, Any]]) -> str:
    """The steps of a single recovery; several dies would fill more than a screen."""
    if len(results) > 1:
        return ""
    floor = results[0]["floor"]
    rows: list[list[object]] = [
        ["floor: perfect cells", loss_text(floor), agreement_text(floor), "", ""]
    ]
    rows += [
        [
            stage["name"] + (" ←" if stage["kept"] else ""),
            loss_text(stage),
            agreement_text(stage),
            stage["cells_written"],
            f"{stage['seconds']:.0f} s",
        ]
        for stage in results[0]["stages"]
    ]
    header = ["step", "held-out loss", "agrees with float", "cells written", "time"]
    return table(header, rows) + "\n\n"


def outcome(results: Sequence[dict[str, Any]], in_float: float | None, metric: Metric) -> str:
    """What the recovery brought in a user's words, and the next step.

    Args:
        results: the entries of the dies (``result_of``).
        in_float: the metric of the float network; None without labelled data.
    """
    return f"{_gained(results, in_float, metric)}\n{_next(results)}"


def _gained(results: Sequence[dict[str, Any]], in_float: float | None, metric: Metric) -> str:
    better = sum(result["verdict"]["gained"] for result in results)
    befores = [result[f"{metric.key}_before"] for result in results]
    afters = [result[f"{metric.key}_after"] for result in results]
    if None not in befores and None not in afters:
        before, after = (metric.text(sum(v) / len(results)) for v in (befores, afters))
        dies = f"{len(results)} dies reach on average" if len(results) > 1 else "the die reaches"
        float_text = (
            "" if in_float is None else f"; the float network reaches {metric.text(in_float)}"
        )
        return f"result: {dies} {metric.name} {after}, {before} before{float_text}"
    if len(results) > 1:
        of = f"{better} of {len(results)} dies"
        return f"result: {of} answer more like the float network than before"
    if not better:
        return "result: the die answers no more like the float network than before"
    stages = results[0]["stages"]
    first, last = stages[0]["agreement"], _kept(stages)["agreement"]
    if first is None or last is None:
        return "result: the die's outputs are closer to those of the float network than before"
    return (
        f"result: the die chooses the float network's class for {100 * last:.1f} % of inputs, "
        f"{100 * first:.1f} % before"
    )


def _kept(stages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The step whose digital side the result has; the last where none is marked."""
    return next((stage for stage in reversed(stages) if stage["kept"]), stages[-1])


def _next(results: Sequence[dict[str, Any]]) -> str:
    first = results[0]
    output, die = first["output"], first["die_file"]
    if not first["measured_on_chip"]:
        return f"next: write the cells with `pimc program {output}` and capture again"
    if not any(result["verdict"]["gained"] for result in results):
        return "next: give more calibration data with --calib, or another --strategy"
    if len(results) > 1:
        return "next: run each die with its own next image, named in the table above"
    at = f" --die {die}" if die else ""
    return f"next: use {output} from now on, as in `pimc run {output}{at} --input DATA`"
