"""What a page is of: things in memory, and what was read of files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pimc.errors import UsageError
from pimc.image.image import Image

if TYPE_CHECKING:
    from pimc.passes.recover.recovery import Recovery
    from pimc.runtime.die.die import Die
    from pimc.studies.sweep import Swept

    #: What is in memory and can be shown.
    Thing: TypeAlias = Image | Die | Recovery | Swept
    #: What a report can be of.
    What: TypeAlias = str | Path | Thing

__all__ = ["Source", "source_of", "told_of_recovery"]


@dataclass(frozen=True)
class Source:
    """One thing that a page is of.

    Attributes:
        kind: ``image``, ``die``, ``recovery``, ``sweep``, ``recoveries``, ``comparison`` or
            ``evaluation``.
        name: what it is called on the page.
        content: what was read.
        sha256: of the file, where there is one that does not tell its own.
        path: of the file, where there is one.
        lines: the command lines that made it, where they are known.
    """

    kind: str
    name: str
    content: Any = field(repr=False)
    sha256: str = ""
    path: Path | None = field(default=None, kw_only=True)
    lines: tuple[str, ...] = field(default=(), kw_only=True)


def told_of_recovery(recovery: Recovery) -> dict[str, Any]:
    """What a report file tells of a recovery that is in memory."""
    from pimc.passes.recover.write.residual import residual_weights

    note, found = recovery.image.recovery, recovery.findings
    return {
        "die": None if note is None else note.die,
        "strategy": recovery.strategy,
        "sha256": recovery.image.sha256,
        "accuracy_before": None,
        "accuracy_after": None,
        "cells_total": int(recovery.image.used.sum()),
        "cells_rewritten": recovery.cells_rewritten,
        "residual_weights": residual_weights(recovery.image),
        "rounds": None if note is None else note.rounds,
        "measured_on_chip": recovery.measured,
        "record": recovery.record,
        "seconds": recovery.seconds,
        "basis": asdict(recovery.basis),
        "verdict": asdict(recovery.verdict),
        "floor": asdict(recovery.floor),
        "findings": found
        and {"faults": found.counts(), "away_us": found.away_us, "known_us": found.known_us},
        "stages": [vars(stage) for stage in recovery.stages],
    }


def source_of(given: Any) -> Source:
    """What is in memory.

    Raises:
        UsageError: it is nothing that a report shows.
    """
    from pimc.passes.recover.recovery import Recovery
    from pimc.runtime.die.die import Die
    from pimc.studies.sweep import Swept

    if isinstance(given, Image):
        return Source("image", given.model.name, given)
    if isinstance(given, Die):
        return Source("die", given.name, given)
    if isinstance(given, Recovery):
        told = told_of_recovery(given)
        return Source("recovery", f"{told['strategy']} for {told['die']}", told)
    if isinstance(given, Swept):
        return Source("sweep", "sweep", given.rows)
    raise UsageError(
        f"a report shows no {type(given).__name__}",
        hint="give images, dies, recoveries, sweeps or their files",
    )
