"""The options that choose a chip to compile for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pimc.cli.options.fields import option, several
from pimc.cli.options.values import SIZE

if TYPE_CHECKING:
    from pimc.chip.design import Chip

__all__ = ["ChipOptions"]


@dataclass(frozen=True)
class ChipOptions:
    """``--chip`` and what changes it."""

    array: tuple[int, int] | None = option(
        "--array", type=SIZE, metavar="RxC", help="Wordlines × bitlines of one array."
    )
    chip: str | None = option(
        "--chip", type=click.STRING, metavar="NAME|FILE", help="A shipped chip or a chip file."
    )
    levels: int | None = option("--levels", type=click.INT, help="Conductance levels of a cell.")
    mapping: str | None = option(
        "--mapping",
        type=click.Choice(["offset", "differential", "sliced"]),
        help="How a weight becomes cells.",
    )
    pair: str | None = option(
        "--pair",
        type=click.Choice(["columns", "rows", "arrays"]),
        help="Where the two cells of a differential weight lie.",
    )
    keys: tuple[str, ...] = several(
        "--set",
        type=click.STRING,
        metavar="KEY=VALUE",
        help="Change a key of the chip, as in adc.bits=6; may be given again.",
    )

    def load(self) -> Chip:
        """The chip that these options name."""
        from pimc.chip.design import Chip
        from pimc.cli.options.assignment import assignment

        chip = Chip.load(self.chip) if self.chip else Chip.default()
        if self.mapping is not None:
            chip = chip.with_mapping(self.mapping)
        if self.pair is not None:
            chip = chip.with_(**{"mapping.pair": self.pair})
        if self.levels is not None:
            chip = chip.with_levels(self.levels)
        if self.array:
            chip = chip.with_array(*self.array)
        # All at once: keys that need each other may come in any order.
        return chip.with_(**dict(map(assignment, self.keys)))
