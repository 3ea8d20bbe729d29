"""``pimc info``: Look into an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pimc.cli.command import Report, Settings, command
from pimc.cli.options.single import explain_option, image_argument
from pimc.cli.summary import explanations, layer_table, summary_facts
from pimc.cli.text import age_text, facts

__all__ = ["COMMAND", "InfoArguments", "info"]


@dataclass(frozen=True)
class InfoArguments:
    """What ``pimc info`` takes."""

    image: Path | None = image_argument()
    explain: bool = explain_option()


def info(settings: Settings, arguments: InfoArguments) -> Report:
    """Look into IMAGE: layers, arrays, utilization, predicted errors, energy and latency."""
    from pimc.cli.lookup import find_image
    from pimc.image.image import Image
    from pimc.image.summary import summarize

    path = find_image(arguments.image)
    loaded = Image.load(path)
    summary = {"image": str(path)} | summarize(loaded)
    pairs = [
        ("image", f"{path}, format {summary['format_version']}, {summary['sha256'][:16]}"),
        *summary_facts(summary),
        ("teacher", "float weights included" if summary["teacher"] else "none"),
        ("recovery", _recovery(summary["recovery"])),
        ("drift", _drift(summary["drift"])),
    ]
    text = f"{layer_table(summary, below=len(pairs))}\n\n{facts(pairs)}"
    return Report(summary, text + explanations(summary, loaded.chip) if arguments.explain else text)


COMMAND = command("info", InfoArguments, info, example="pimc info model.pimc --explain")


def _drift(drift: Any) -> str:
    if not drift:
        return ""
    first, last = (age_text(drift["ages_s"][end]) for end in (0, -1))
    drive = "as calibration data drive rows" if drift["calibrated"] else "all rows alike"
    return f"compensated from {first} to {last}, {drive}"


def _recovery(recovery: Any) -> str:
    if not recovery:
        return "none"
    plain = {k: v for k, v in recovery.items() if isinstance(v, str | int | float)}
    return ", ".join(f"{name} {value}" for name, value in plain.items()) or "yes"
