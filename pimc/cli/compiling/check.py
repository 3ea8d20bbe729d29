"""``pimc check``: What of a model goes on the array, and why not the rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from pimc.cli.command import Report, Settings, command
from pimc.cli.options.fields import argument, flag, group
from pimc.cli.options.model import ModelOptions
from pimc.cli.options.partition import PartitionOptions
from pimc.cli.options.values import FILE
from pimc.cli.text import percent

__all__ = ["COMMAND", "CheckArguments", "check"]


@dataclass(frozen=True)
class CheckArguments:
    """What ``pimc check`` takes."""

    model: Path = argument(type=FILE)
    reading: ModelOptions = group(ModelOptions)
    partition: PartitionOptions = group(PartitionOptions)
    every: bool = flag("--all", help="List nodes without weights one by one, too.")


def check(settings: Settings, arguments: CheckArguments) -> Report:
    """What of MODEL.onnx goes on the array, what stays digital, what is refused, and why.

    Exits with 1 if the model cannot be compiled.
    """
    from pimc.passes.array.judge import array_share, classify, refusal
    from pimc.passes.graph.frontend import load_model
    from pimc.passes.graph.malformed import blaming
    from pimc.passes.lower.lowering import Lower
    from pimc.passes.simplify.simplify import Simplify

    loaded = load_model(arguments.model, follow_links=arguments.reading.follow_links)
    partition = arguments.partition
    with blaming(loaded.graph, loaded.model_name):
        plan = Lower()(Simplify()(loaded))
        reports = classify(plan, partition.digital, array_only=partition.array_only)
        share = array_share(reports)
    error = refusal(reports, plan.model_name)
    counts = {kind: sum(r.where == kind for r in reports) for kind in _PLACES}
    data = {
        "ok": error is None,
        "model": plan.model_name,
        **counts,
        "array_share": share,
        "notes": list(plan.notes),
        "nodes": [asdict(report) for report in reports],
    }
    unknown = "unknown, as not all shapes and numbers of steps are known"
    total = unknown if share is None else percent(share, 1)
    parts = [
        f"{plan.model_name}: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()),
        f"multiply-accumulates on the array: {total}",
    ]
    parts += [f"note: {told}" for told in plan.notes]
    for kind in ("refused", "array", "digital"):
        told = [
            r
            for r in reports
            if r.where == kind and (arguments.every or r.fix or kind != "digital")
        ]
        lines = [r.line() for r in told]
        if lines:
            parts.append(f"\n{kind} ({_PLACES[kind]})\n  " + "\n  ".join(lines))
    others = Counter(r.op for r in reports if r.where == "digital" and not r.fix)
    if others and not arguments.every:
        listed = ", ".join(f"{count} {op}" for op, count in sorted(others.items()))
        parts.append(f"\ndigital without weights: {listed}")
    if error is not None:
        parts.append(f"\n{plan.model_name} {error.message}")
    return Report(data, "\n".join(parts), exit_code=0 if error is None else 1)


COMMAND = command("check", CheckArguments, check, example="pimc check model.onnx")

_PLACES = {
    "array": "weights become cells",
    "digital": "computed beside the array",
    "refused": "nobody can run it",
}
