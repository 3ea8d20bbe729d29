"""What ``pimc recover`` tells of a recovery, and the files beside the next image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimc.cli.command import Report
from pimc.cli.options.task import told_of
from pimc.cli.recovering.figures import agreement_text, basis_lines, intervals_of, loss_text
from pimc.cli.text import facts, percent, table

if TYPE_CHECKING:
    from pimc.image.image import Image
    from pimc.passes.recover.recovery import Recovery
    from pimc.tasks.task import Task

__all__ = ["report_of", "result_of", "write_files"]


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
    return Report(data, f"{head}\n\n{_stages(results)}{body}{note}", answer=False)


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
        f"{die}: cells lie {found['away_us']:.2f} µS from their targets, known to within "
        f"{found['known_us']:.2f} µS ({found['before_us']:.2f} µS before) from "
        f"{_RECORDS[result['record']]}"
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
