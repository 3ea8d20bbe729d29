"""What all tables of a chip file have in common."""

from __future__ import annotations

from pimc.errors import ChipError
from pimc.files.strict import settle


class Section:
    """A table of the chip file; made in Python it is held to the same rules."""

    def __post_init__(self) -> None:
        if problems := settle(self):
            raise ChipError("; ".join(problems), where=type(self).__name__)
