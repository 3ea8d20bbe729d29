"""Pack: tiles into as few arrays as possible, or one tile an array."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Literal

from pimc.chip.design import Chip
from pimc.passes.layout.phases import cut
from pimc.plan.records import Place, Plan, Tile

#: A way to pack, or the most read steps that an array may take for one input of a layer.
Packing = Literal["dense", "parallel", "single"] | int


@dataclass(frozen=True)
class Pack:
    """Give every tile a rectangle of an array.

    ``dense`` uses the fewest arrays; tiles that share an array but get different inputs
    are read one after the other. ``parallel`` takes the fewest read steps: an array may hold tiles
    of several layers, which run one after the other anyway, but of one layer only those that are
    read together. A number lies in between: so many read steps a layer in each array at most.
    ``single`` gives every tile an array of its own. Where the cells of a weight lie in different
    arrays, the tiles of the second plane take the places of
    the first in as many arrays again.

    Attributes:
        phases: cut a network that is larger than the chip into phases, no two of which are on it
            at once; else the placement refuses it.
    """

    name: ClassVar[str] = "pack"
    packing: Packing = "dense"
    phases: bool = False

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """Fill ``plan.places``.

        Raises:
            ModelError: a phase of one layer is larger than the chip.
        """
        every = list(range(len(plan.layers)))
        groups = [every]
        if self.phases:
            groups = cut(
                plan,
                lambda layers: self._packed(_tiles(plan, layers), plan, chip)[1],
                chip.hierarchy.arrays,
            )
        places = [Place(0, 0, 0)] * len(plan.tiles)
        starts, start = [], 0
        for layers in groups:
            numbers = _tiles(plan, layers)
            packed, arrays = self._packed(numbers, plan, chip)
            for number, place in zip(numbers, packed, strict=True):
                places[number] = replace(place, array=place.array + start)
            starts.append(start)
            start += arrays
        return replace(
            plan, stage=self.name, places=tuple(places), arrays=start, phases=tuple(starts)
        )

    def _packed(self, numbers: Sequence[int], plan: Plan, chip: Chip) -> tuple[list[Place], int]:
        """Places of these tiles, and how many arrays they take."""
        tiles = [plan.tiles[number] for number in numbers]
        planes = _planes(tiles, plan, chip)
        first = [tile for tile, plane in zip(tiles, planes, strict=True) if plane == 0]
        packed = _packer(self.packing)(first, chip.array.rows, chip.array.cols)
        place_of = dict(zip(map(_block, first), packed, strict=True))
        # Of later planes there are only the arrays that hold one of their tiles.
        inside: dict[tuple[int, int], None] = {(0, place.array): None for place in packed}
        there = []
        for tile, plane in zip(tiles, planes, strict=True):
            cols = plan.layers[tile.layer].cols
            there.append(place_of[_block(replace(tile, col=tile.col - plane * cols))])
            inside[plane, there[-1].array] = None
        numbered = {which: number for number, which in enumerate(sorted(inside))}
        places = [
            replace(place, array=numbered[plane, place.array])
            for plane, place in zip(planes, there, strict=True)
        ]
        return places, len(numbered)


def _tiles(plan: Plan, layers: Sequence[int]) -> list[int]:
    """Numbers of the layers' tiles."""
    wanted = set(layers)
    return [number for number, tile in enumerate(plan.tiles) if tile.layer in wanted]


def _block(tile: Tile) -> tuple[int, ...]:
    """What tells a tile from all others."""
    return tile.layer, tile.group, tile.row, tile.col


def _planes(tiles: Sequence[Tile], plan: Plan, chip: Chip) -> list[int]:
    """Which plane each tile holds where planes lie in different arrays, else 0."""
    apart = [(layer.mapping or chip.mapping).pair == "arrays" for layer in plan.layers]
    return [tile.col // plan.layers[tile.layer].cols if apart[tile.layer] else 0 for tile in tiles]


def _packer(packing: Packing) -> Callable[[Sequence[Tile], int, int], list[Place]]:
    if packing == "single":
        return _single
    turns = {"dense": None, "parallel": 1}[packing] if isinstance(packing, str) else packing
    return partial(_shared, turns=turns)


def _single(tiles: Sequence[Tile], rows: int, cols: int) -> list[Place]:
    return [Place(number, 0, 0) for number in range(len(tiles))]


def _shared(tiles: Sequence[Tile], rows: int, cols: int, turns: int | None) -> list[Place]:
    """The better of shelves along the rows and shelves along the columns."""
    lying = _Shelves(tiles, rows, cols, turns, turned=False).places()
    standing = _Shelves(tiles, cols, rows, turns, turned=True).places()
    return min(lying, standing, key=_arrays)


def _arrays(places: Iterable[Place]) -> int:
    return len({place.array for place in places})


@dataclass
class _Shelf:
    """A strip of an array, filled from its start."""

    array: int
    offset: int
    thickness: int
    left: int


@dataclass
class _Shelves:
    """First-fit-decreasing shelf packing.

    Shelves lie one behind the other along ``depth``; blocks follow each other along ``length``.

    Attributes:
        turns: read steps that an array may take for a layer; None for any number.
        turned: depth counts bitlines and length wordlines, else the other way round.
        inputs: what drives the tiles of an array's layer: group, first row and wordline.
    """

    tiles: Sequence[Tile]
    depth: int
    length: int
    turns: int | None
    turned: bool
    shelves: list[_Shelf] = field(default_factory=list)  # those with room
    depth_left: dict[int, int] = field(default_factory=dict)  # of arrays with room
    inputs: defaultdict[tuple[int, int], set[tuple[int, int, int]]] = field(
        default_factory=lambda: defaultdict(set)
    )
    arrays: int = 0

    def places(self) -> list[Place]:
        """A place for every tile, in their order."""
        sizes = [self._size(tile) for tile in self.tiles]
        order = sorted(range(len(sizes)), key=lambda i: (-sizes[i][0], -sizes[i][1], i))
        places = [Place(0, 0, 0)] * len(sizes)
        for i in order:
            places[i] = self._place(self.tiles[i], *sizes[i])
        return places

    def _size(self, tile: Tile) -> tuple[int, int]:
        """Thickness and extent."""
        return (tile.cols, tile.rows) if self.turned else (tile.rows, tile.cols)

    def _place(self, tile: Tile, thickness: int, extent: int) -> Place:
        shelf = next(
            (
                s
                for s in self.shelves
                if s.left >= extent
                and s.thickness >= thickness
                and self._fits(tile, s.array, s.offset, self.length - s.left)
            ),
            None,
        )
        if shelf is None:
            shelf = self._new_shelf(tile, thickness)
        offset, along = shelf.offset, self.length - shelf.left
        if self.turns is not None:
            driven = (tile.group, tile.row, along if self.turned else offset)
            self.inputs[shelf.array, tile.layer].add(driven)
        shelf.left -= extent
        if not shelf.left:
            self.shelves.remove(shelf)
        row, col = (along, offset) if self.turned else (offset, along)
        return Place(shelf.array, row, col)

    def _fits(self, tile: Tile, array: int, offset: int, along: int) -> bool:
        """Whether an array may take ``tile`` there as far as read steps go."""
        if self.turns is None:
            return True
        taken = self.inputs.get((array, tile.layer), set())
        driven = (tile.group, tile.row, along if self.turned else offset)
        return driven in taken or len(taken) < self.turns

    def _new_shelf(self, tile: Tile, thickness: int) -> _Shelf:
        array = next(
            (
                array
                for array, left in self.depth_left.items()
                if left >= thickness and self._fits(tile, array, self.depth - left, 0)
            ),
            self.arrays,
        )
        if array == self.arrays:
            self.depth_left[array] = self.depth
            self.arrays += 1
        shelf = _Shelf(array, self.depth - self.depth_left[array], thickness, self.length)
        self.depth_left[array] -= thickness
        if not self.depth_left[array]:
            del self.depth_left[array]
        self.shelves.append(shelf)
        return shelf
