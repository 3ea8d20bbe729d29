"""What is said of an element, one of the things that keep a chip from being ideal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pimc.chip.design import Chip
from pimc.chip.plugins.terms import Term

__all__ = ["PARTS", "Element", "Keys", "Place", "element_table", "own_element"]

Keys = Mapping[str, Any]


class Place(StrEnum):
    """Where an element acts."""

    #: On what a written cell holds.
    CELL = "cell"
    #: On what it holds some time later.
    TIME = "time"
    #: On what it gives when it is read.
    READ = "read"
    #: On what of that arrives.
    WIRES = "wires"
    #: On what goes in and what is made of what comes out.
    CONVERTER = "converter"


#: The parts of a layer's error that its signal-to-noise ratio tells apart.
PARTS = ("cells", "read noise", "ADC")


@dataclass(frozen=True)
class Element:
    """One element.

    Attributes:
        name: what reports call it.
        meaning: one sentence for people.
        without: what is true of a chip without it, for people.
        place: where it acts.
        keys: keys of the chip file that are about it, by dotted path; a table stands for all of
            its keys.
        off: the keys and values under which it is gone, none where a chip does not have it; None
            for what no key takes away: a session is told to leave it out.
        lasts: two reads one after the other meet the same of it.
        drawn: it differs from die to die or from read to read.
        seen: the compiler looks at its keys.
    """

    name: str
    meaning: str
    without: str
    place: Place
    keys: tuple[str, ...]
    off: Callable[[Chip], Keys] | None
    lasts: bool = True
    drawn: bool = True
    seen: bool = False

    @property
    def part(self) -> str | None:
        """The part of a layer's own error it is counted in; None if in no single one."""
        if self.place is not Place.CONVERTER:
            return PARTS[0] if self.lasts else PARTS[1]
        return PARTS[2] if self.off is None else None

    def in_chip(self, chip: Chip) -> bool:
        """Whether ``chip`` has it: switching it off makes a difference."""
        if self.off is None:
            return True
        keys = self.off(chip)
        return bool(keys) and chip.with_(**keys) != chip


def own_element(term: Term) -> Element:
    """The row of a laboratory's own term."""
    key = f"physics.{term.name}"
    return Element(
        term.name,
        term.meaning,
        f"the chip file has no table `[{key}]`",
        Place(term.foreign.kind),
        (key,),
        lambda chip: {key: None},
        lasts=term.lasts,
        drawn=term.drawn,
        seen=term.foreign.kind == Place.CELL,
    )


def element_table(elements: Iterable[Element]) -> str:
    """Elements as a Markdown table."""
    head = ("element", "acts on", "every read meets", "part of the ratio", "compiler", "keys",
            "switched off")  # fmt: skip
    rows = [
        (
            element.name,
            element.place,
            "the same" if element.lasts else "another",
            element.part or "–",
            "looks at it" if element.seen else "–",
            ", ".join(f"`{key}`" for key in element.keys),
            element.without,
        )
        for element in elements
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| --- ", "|---")
