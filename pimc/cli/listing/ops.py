"""``pimc ops``: Which operators go on the array."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from pimc.cli.command import Report, Settings, command
from pimc.cli.options.fields import flag

__all__ = ["COMMAND", "OpsArguments", "ops"]


@dataclass(frozen=True)
class OpsArguments:
    """What ``pimc ops`` takes."""

    markdown: bool = flag("--markdown", help="A Markdown table.")


def ops(settings: Settings, arguments: OpsArguments) -> Report:
    """Which operators go on the array, under what conditions, and which stay digital."""
    from pimc.passes.array.judge import ops_markdown, ops_table
    from pimc.runtime.ops import registered

    rows = ops_table({name for domain, name, _ in registered() if not domain})
    data = {"ops": [asdict(row) for row in rows]}
    if arguments.markdown:
        return Report(data, ops_markdown(rows).rstrip("\n"))
    lines = []
    for row in rows:
        if row.where == "array":
            lines.append(f"{row.op}: on the array, if all of this holds")
            lines += [f"  {need}" for need in row.needs]
    notes = [row for row in rows if row.where == "digital" and row.note != "native"]
    lines.append("digital, although they hold weights")
    lines += [f"  {row.op}: {row.note}" for row in notes]
    native = ", ".join(row.op for row in rows if row.note == "native")
    lines.append(f"digital, computed natively\n  {native}")
    lines.append("digital, computed by ONNX Runtime\n  every other operator of ONNX")
    return Report(data, "\n".join(lines))


COMMAND = command("ops", OpsArguments, ops, example="pimc ops --markdown", needs=("torch",))
