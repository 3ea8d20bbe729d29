"""The options that choose a chip to compile for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.common import SIZE, Function

if TYPE_CHECKING:
    from pimc.chip.design import Chip

__all__ = ["chip_options", "chosen_chip"]

_OPTIONS: Sequence[Any] = (
    click.option("--array", type=SIZE, metavar="RxC", help="Wordlines × bitlines of one array."),
    click.option("--chip", metavar="NAME|FILE", help="A shipped chip or a chip file."),
    click.option("--levels", type=int, help="Conductance levels of a cell."),
    click.option(
        "--mapping",
        type=click.Choice(["offset", "differential", "sliced"]),
        help="How a weight becomes cells.",
    ),
    click.option(
        "--pair",
        type=click.Choice(["columns", "rows", "arrays"]),
        help="Where the two cells of a differential weight lie.",
    ),
    click.option(
        "--set",
        "keys",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change a key of the chip, as in adc.bits=6; may be given again.",
    ),
)


def chip_options(function: Function) -> Function:
    """``--chip`` and what changes it."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def chosen_chip(chosen: dict[str, Any]) -> Chip:
    """The chip that these options name."""
    from pimc.chip.design import Chip
    from pimc.cli.assignment import assignment

    chip = Chip.load(chosen["chip"]) if chosen["chip"] else Chip.default()
    if chosen["mapping"] is not None:
        chip = chip.with_mapping(chosen["mapping"])
    if chosen["pair"] is not None:
        chip = chip.with_(**{"mapping.pair": chosen["pair"]})
    if chosen["levels"] is not None:
        chip = chip.with_levels(chosen["levels"])
    if chosen["array"]:
        chip = chip.with_array(*chosen["array"])
    # All at once: keys that need each other may come in any order.
    return chip.with_(**dict(map(assignment, chosen["keys"])))
