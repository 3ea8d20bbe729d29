"""The options that choose a chip to compile for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pimc.cli.options.fields import option, several
from pimc.cli.options.values import CHIP, MAPPING, SIZE

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
        "--chip", type=CHIP, metavar="NAME|FILE", help="A shipped chip or a chip file."
    )
    levels: int | None = option("--levels", type=click.INT, help="Conductance levels of a cell.")
    mapping: tuple[tuple[str, str], ...] = several(
        "--mapping",
        type=MAPPING,
        metavar="[LAYER=]KIND",
        help="How a weight becomes cells: offset, differential, differential:rows, sliced:3, "
        "sliced:2:8 (slices 8 apart). For layers whose name fits LAYER=, for which digital is one, "
        "too; else for all others. May be given again.",
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

    @property
    def of_layers(self) -> dict[str, str]:
        """The mappings of layers by globs of their names."""
        return {glob: text for glob, text in self.mapping if glob}

    def load(self) -> Chip:
        """The chip that these options name."""
        from pimc.chip.design import Chip
        from pimc.chip.layer_mapping import with_mapping
        from pimc.cli.options.assignment import assignment

        chip = Chip.load(self.chip) if self.chip else Chip.default()
        for glob, text in self.mapping:
            if not glob:
                chip = with_mapping(chip, text)
        if self.pair is not None:
            chip = chip.with_(**{"mapping.pair": self.pair})
        if self.levels is not None:
            chip = chip.with_levels(self.levels)
        if self.array:
            chip = chip.with_array(*self.array)
        # All at once: keys that need each other may come in any order.
        return chip.with_(**dict(map(assignment, self.keys)))
