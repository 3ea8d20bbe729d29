"""Pack: tiles into as few arrays as possible, or one tile an array."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from pimc.chip import Chip
from pimc.plan import Place, Plan, Tile

Packing = Literal["dense", "single"]


@dataclass(frozen=True)
class Pack:
    """Give every tile a rectangle of an array.

    ``dense`` uses the fewest arrays; tiles that share an array but get different inputs
    are read one after the other. ``single`` gives every tile an array of its own. Where the
    cells of a weight lie in different arrays, the tiles of the second plane take the places of
    the first in as many arrays again.
    """

    name: ClassVar[str] = "pack"
    packing: Packing = "dense"

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """Fill ``plan.places``."""
        planes = _planes(plan, chip)
        first = [tile for tile, plane in zip(plan.tiles, planes, strict=True) if plane == 0]
        packed = _PACKERS[self.packing](first, chip.array.rows, chip.array.cols)
        arrays = 1 + max((place.array for place in packed), default=-1)
        # Each plane lists the same tiles in the same order.
        unused = [iter(packed) for _ in range(1 + max(planes, default=0))]
        places = []
        for plane in planes:
            place = next(unused[plane])
            places.append(replace(place, array=place.array + plane * arrays))
        return replace(plan, stage=self.name, places=tuple(places), arrays=arrays * len(unused))


def _planes(plan: Plan, chip: Chip) -> list[int]:
    """Which plane each tile holds where planes lie in different arrays, else 0."""
    if chip.mapping.pair != "arrays":
        return [0] * len(plan.tiles)
    return [tile.col // plan.layers[tile.layer].cols for tile in plan.tiles]


@dataclass
class _Shelf:
    """A strip of an array, filled from its start."""

    array: int
    offset: int
    thickness: int
    left: int


def _single(tiles: Sequence[Tile], rows: int, cols: int) -> list[Place]:
    return [Place(number, 0, 0) for number in range(len(tiles))]


def _dense(tiles: Sequence[Tile], rows: int, cols: int) -> list[Place]:
    """The better of shelves along the rows and shelves along the columns."""
    sizes = [(tile.rows, tile.cols) for tile in tiles]
    lying = [Place(array, row, col) for array, row, col in _shelves(sizes, rows, cols)]
    turned = _shelves([(width, height) for height, width in sizes], cols, rows)
    standing = [Place(array, row, col) for array, col, row in turned]
    return min(lying, standing, key=_arrays)


def _arrays(places: Iterable[Place]) -> int:
    return len({place.array for place in places})


def _shelves(
    sizes: Sequence[tuple[int, int]], depth: int, length: int
) -> list[tuple[int, int, int]]:
    """First-fit-decreasing shelf packing of (thickness, extent) blocks.

    Shelves lie one behind the other along ``depth``; blocks follow each other along
    ``length``. Returns (array, offset along depth, offset along length) a block.
    """
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i][0], -sizes[i][1], i))
    shelves: list[_Shelf] = []  # those with room, and arrays likewise
    depth_left: dict[int, int] = {}
    arrays = 0
    result = [(0, 0, 0)] * len(sizes)
    for i in order:
        thickness, extent = sizes[i]
        shelf = next((s for s in shelves if s.left >= extent and s.thickness >= thickness), None)
        if shelf is None:
            array = next((a for a, left in depth_left.items() if left >= thickness), arrays)
            if array == arrays:
                depth_left[array] = depth
                arrays += 1
            shelf = _Shelf(array, depth - depth_left[array], thickness, length)
            depth_left[array] -= thickness
            if not depth_left[array]:
                del depth_left[array]
            shelves.append(shelf)
        result[i] = (shelf.array, shelf.offset, length - shelf.left)
        shelf.left -= extent
        if not shelf.left:
            shelves.remove(shelf)
    return result


_PACKERS: dict[Packing, Callable[[Sequence[Tile], int, int], list[Place]]] = {
    "dense": _dense,
    "single": _single,
}
