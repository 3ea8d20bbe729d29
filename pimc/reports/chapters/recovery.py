"""The chapter of a recovery: a die before and after, step by step, and what layers cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pimc.reports.blocks import Bars, Block, Cell, Facts, Part, Table
from pimc.reports.chapters.figures import before_and_after, metric_of, named
from pimc.reports.charts import bars_of
from pimc.reports.numbers import percent, plain
from pimc.tasks.metric import Metric

__all__ = ["brief_of_recovery", "part_of_recovery"]

Report = Mapping[str, Any]
_RECORDS = {
    "codes": "the codes of every tile",
    "sums": "the outputs of whole layers",
    "outputs": "the network's outputs alone",
}
#: Layers whose cost is drawn.
_MOST_BARS = 20


def part_of_recovery(report: Report, name: str) -> Part:
    """All that a recovery tells.

    Args:
        report: the object of its ``.report.json``.
        name: what it is called: its file.
    """
    blocks = [*_stages(report), *_layer_errors(report), *_floor(report), _provenance(report)]
    return Part("recovery", name, brief_of_recovery(report), blocks)


def brief_of_recovery(report: Report) -> list[Block]:
    """Whether it gained, and how."""
    metric = metric_of(report)
    before, after = (report.get(f"{metric.key}_{when}") for when in ("before", "after"))
    total, rewritten = report.get("cells_total"), report.get("cells_rewritten") or 0
    verdict, basis = report.get("verdict") or {}, report.get("basis") or {}
    share = f", {percent(rewritten / total, 1)} of {total:,}" if total else ""
    facts = Facts(
        rows=[
            ("Die", str(report.get("die") or "")),
            (named(metric), _change(metric, before, after)),
            ("Held-out loss", _losses(verdict)),
            ("Verdict", "" if not verdict else _verdict(verdict)),
            ("Strategy", str(report.get("strategy") or "")),
            ("Cells rewritten", f"{rewritten:,}{share}"),
            ("Rounds", plain(report.get("rounds"))),
            ("Digital weights", plain(report.get("residual_weights"))),
            ("Looked at", _RECORDS.get(str(report.get("record")), "")),
            ("Calibration", _basis(basis)),
            ("Time", _seconds(report.get("seconds"))),
            *((f"Why not more ({n})", str(why)) for n, why in _numbered(verdict.get("why"))),
            *((f"What would help ({n})", str(one)) for n, one in _numbered(verdict.get("hints"))),
            *_findings(report.get("findings") or {}),
        ]
    )
    dots = before_and_after(
        [(str(report.get("die") or "die"), before, after)],
        metric,
        report.get("samples"),
        report.get(f"float_{metric.key}"),
        report.get(f"quantized_{metric.key}"),
    )
    return [facts, *([] if dots is None else [dots])]


def _change(metric: Metric, before: float | None, after: float | None) -> str:
    if before is None and after is None:
        return "not measured: no labelled data were given"
    return f"{metric.text(before)} as programmed, {metric.text(after)} after recovery"


def _losses(verdict: Mapping[str, Any]) -> str:
    if not verdict:
        return ""
    return f"{verdict['loss_before']:.4g} before, {verdict['loss_after']:.4g} after"


def _verdict(verdict: Mapping[str, Any]) -> str:
    if verdict["gained"]:
        return "better than before"
    worse = verdict["loss_after"] > verdict["loss_before"]
    return "worse than before" if worse else "nothing was gained"


def _basis(basis: Mapping[str, Any]) -> str:
    if not basis:
        return ""
    return f"{basis['samples']:,} samples, {basis['held_out']:,} of them held out to judge by"


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:,.0f} s"


def _numbered(texts: Sequence[str] | None) -> list[tuple[int, str]]:
    return list(enumerate(texts or (), 1))


def _findings(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not found:
        return []
    faults = ", ".join(f"{count:,} {kind}" for kind, count in (found.get("faults") or {}).items())
    return [
        (
            "Cells found",
            f"{found['away_us']:.3g} µS from their targets; known to within "
            f"{found['known_us']:.3g} µS",
        ),
        ("Faults found", faults or "none"),
    ]


def _stages(report: Report) -> list[Block]:
    stages = report.get("stages") or []
    if not stages:
        return []
    rows = [_stage(number, stage) for number, stage in enumerate(stages)]
    table = Table(
        columns=(
            "Step", "No.", "Held-out loss", "95 % interval", "Agrees with float", "Cells written",
            "Time", "Kept",
        ),
        rows=rows,
        caption="Steps of the recovery",
        title="Steps",
        note="The loss is the distance of the outputs from the float network's, on calibration "
        "samples that nothing was learnt from. Kept: the result has this step's digital side.",
    )  # fmt: skip
    return [table]


def _stage(number: int, stage: Mapping[str, Any]) -> list[Cell]:
    low, high = stage.get("loss_interval_95") or (None, None)
    agreement = stage.get("agreement")
    return [
        Cell(stage["name"], stage["name"]),
        Cell(f"{number + 1}", number + 1),
        Cell(f"{stage['loss']:.4g}", stage["loss"]),
        Cell("–" if low is None or high is None else f"{low:.4g} to {high:.4g}", low),
        Cell(percent(agreement, 1), agreement),
        Cell(f"{stage['cells_written']:,}", stage["cells_written"]),
        Cell(f"{stage['seconds']:.1f} s", stage["seconds"]),
        Cell("yes" if stage.get("kept") else "no", "yes" if stage.get("kept") else "no"),
    ]


def _layer_errors(report: Report) -> list[Block]:
    """Errors of layers' outputs at the first step, and at the last one that was kept."""
    stages = [stage for stage in report.get("stages") or [] if stage.get("layer_errors")]
    if not stages:
        return []
    first = stages[0]["layer_errors"]
    last = next((one for one in reversed(stages) if one.get("kept")), stages[-1])["layer_errors"]
    rows = []
    for name, before in first.items():
        after = last.get(name)
        ratio = after / before if before and after is not None else None
        rows.append(
            [
                Cell(name, name),
                Cell(f"{before:.3g}", before),
                Cell("–" if after is None else f"{after:.3g}", after),
                Cell("–" if ratio is None else f"{ratio:.2f}", ratio),
            ]
        )
    table = Table(
        columns=("Layer", "As programmed", "After recovery", "Ratio"),
        rows=rows,
        caption="Errors of the layers' outputs",
        title="Errors of layers",
        note="Root mean square of what outputs are away from the float network's, over the "
        "standard deviation of the latter, on held-out calibration samples.",
    )
    return [table]


def _floor(report: Report) -> list[Block]:
    """What each layer alone costs on perfect cells: what no recovery can pass."""
    floor = report.get("floor") or {}
    layers = floor.get("layers") or []
    if not layers:
        return []
    entries = [
        (
            layer["layer"],
            [layer["loss"] * layer["noise"], layer["loss"] * (1 - layer["noise"])],
            f"{layer['loss']:.3g}"
            + ("" if not layer["clipped"] else f", {percent(layer['clipped'])} clipped"),
        )
        for layer in layers[:_MOST_BARS]
        if layer["loss"] > 0
    ]
    if not entries:
        return []
    more = f" The {_MOST_BARS} costliest of {len(layers):,} layers." * (len(layers) > _MOST_BARS)
    return [
        Bars(
            bars=bars_of(entries),
            legend=("read noise", "rounding to levels and codes"),
            title="What costs what, with perfect cells",
            note=f"Held-out loss with this layer alone read as the chip reads it, all others in "
            f"float; {floor['layer_samples']:,} samples. All layers together: {floor['loss']:.3g} "
            f"({floor['samples']:,} samples).{more}",
        )
    ]


def _provenance(report: Report) -> Facts:
    return Facts(
        rows=[
            ("Next image", str(report.get("output") or "")),
            ("Its SHA-256", str(report.get("sha256") or "")),
            ("Die file", str(report.get("die_file") or "")),
            ("Measured", "on the chip" if report.get("measured_on_chip") else "by the estimate"),
        ],
        title="Files",
        wide=True,
    )
