"""What a report is made of: blocks of content, which templates turn into HTML.

Builders know what they show and nothing of HTML; templates know HTML and nothing of what is shown.
Texts are plain: templates escape them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pimc.pictures.tiles import Tile

__all__ = [
    "Bar",
    "Bars",
    "Block",
    "Cell",
    "Dot",
    "Dots",
    "Edge",
    "Facts",
    "Fold",
    "Graph",
    "Map",
    "Maps",
    "Node",
    "Part",
    "Picture",
    "Scale",
    "Table",
]


@dataclass(frozen=True, kw_only=True)
class Block:
    """One piece of a page.

    Attributes:
        title: its heading; without one it belongs to what stands above it.
        note: a sentence below it: what it stands on, what was left out.
    """

    kind: ClassVar[str]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Facts(Block):
    """Names and values; those without a value are left out.

    Attributes:
        wide: one a line, as hashes need it.
    """

    kind = "facts"
    rows: Sequence[tuple[str, str]]
    wide: bool = False

    @property
    def told(self) -> list[tuple[str, str]]:
        """The rows that have a value."""
        return [(name, value) for name, value in self.rows if value]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what is shown.
        order: by what the column is sorted; None sorts last.
    """

    text: str
    order: float | str | None = None


@dataclass(frozen=True)
class Table(Block):
    """Rows that a reader can sort.

    Attributes:
        columns: their names.
        rows: cells in the order of the columns; the first is the row's heading.
        caption: what the rows are, for readers who do not see the page.
    """

    kind = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str

    def is_number(self, column: int) -> bool:
        """Whether a column holds numbers, which are set flush right."""
        orders = [row[column].order for row in self.rows]
        return any(isinstance(order, int | float) for order in orders)


@dataclass(frozen=True)
class Bar:
    """One bar: parts of lengths in per cent of the longest bar, by the number of the legend."""

    label: str
    parts: Sequence[float]
    text: str


@dataclass(frozen=True)
class Bars(Block):
    """Bars from zero, each in parts.

    Attributes:
        legend: what the parts are.
    """

    kind = "bars"
    bars: Sequence[Bar]
    legend: Sequence[str]


@dataclass(frozen=True)
class Scale:
    """An axis from left to right.

    Attributes:
        low, high: its ends.
        ticks: where it is labelled, in per cent of its length, with the label.
        broken: what is said where it does not begin at zero; else nothing.
    """

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    broken: str = ""

    def at(self, value: float) -> float:
        """The place of a value, in per cent of the length."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)


@dataclass(frozen=True)
class Dot:
    """A figure with its interval: places in per cent of the axis.

    Attributes:
        series: number in the legend.
        low, high: ends of the interval; None where there is none.
        text: the same in words.
    """

    series: int
    at: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class Dots(Block):
    """Figures along an axis, one row a die or point.

    Attributes:
        rows: label and dots.
        lines: places that all rows are held against, and what they are.
    """

    kind = "dots"
    scale: Scale
    rows: Sequence[tuple[str, Sequence[Dot]]]
    legend: Sequence[str]
    lines: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True)
class Map:
    """One array.

    Attributes:
        levels: the levels of its cells as a PNG; empty where only tiles are drawn.
        rewritten: the cells that a recovery rewrote as a PNG; empty where there are none.
    """

    array: int
    rows: int
    cols: int
    tiles: Sequence[Tile]
    levels: str
    rewritten: str
    text: str


@dataclass(frozen=True)
class Maps(Block):
    """Arrays, to be looked at one by one.

    Attributes:
        colours: of the levels, as ``#rrggbb``; the last is that of unused cells.
    """

    kind = "maps"
    maps: Sequence[Map]
    colours: Sequence[str]

    @property
    def has_rewritten(self) -> bool:
        """Whether any array has cells that were rewritten."""
        return any(one.rewritten for one in self.maps)


@dataclass(frozen=True)
class Node:
    """A box of the network: an array layer, or digital operators."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    label: str
    below: str
    text: str


@dataclass(frozen=True)
class Edge:
    """A line from box to box: a path of SVG."""

    path: str


@dataclass(frozen=True)
class Graph(Block):
    """The network, from its inputs at the top to its outputs at the bottom."""

    kind = "graph"
    width: float
    height: float
    nodes: Sequence[Node]
    edges: Sequence[Edge]
    text: str


@dataclass(frozen=True)
class Picture(Block):
    """A picture of :mod:`pimc.pictures`, as SVG that stands in the page as it is."""

    kind = "picture"
    svg: str


@dataclass(frozen=True)
class Fold(Block):
    """Blocks that a reader may open."""

    kind = "fold"
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Part:
    """A chapter of the page: one image, die, recovery or table.

    Attributes:
        what: what it is of, in a word.
        brief: the blocks that a notebook shows, too.
    """

    what: str
    title: str
    brief: Sequence[Block]
    blocks: Sequence[Block] = field(default=())
