"""What a reader gives: values as they are stored, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pimc.data.rows import Rows

__all__ = ["Stored"]


@dataclass(frozen=True, eq=False)
class Stored:
    """Values as stored.

    Attributes:
        values: by the name of the input; ``x`` where no network says how it is called.
        targets: labels under ``y``, and whatever else there is a value a sample of.
        layout: where the format itself fixes it.
        classes: names of the classes, where the format itself has them.
    """

    values: Mapping[str, Rows]
    targets: Mapping[str, Rows] = field(default_factory=dict)
    layout: str | None = None
    classes: tuple[str, ...] = ()
