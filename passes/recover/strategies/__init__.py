"""Strategies: recipes for recovering a die, one file each.

A strategy is a frozen dataclass with a name that lays out steps; the first line of its docstring
is what a user reads. A package adds its own with an entry point of the group
``pimc.strategies`` that names such a class; it is made without arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol

from pimc.errors import UsageError
from pimc.files.entry_points import Extensions
from pimc.passes.recover.bench.bench import Step
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.strategies.affine import Affine
from pimc.passes.recover.strategies.full_rewrite import FullRewrite
from pimc.passes.recover.strategies.layerwise import Layerwise
from pimc.passes.recover.strategies.none import Nothing
from pimc.passes.recover.strategies.residual import Residual
from pimc.passes.recover.strategies.selective import Selective
from pimc.passes.recover.strategies.vat import Vat, VatKd

ENTRY_POINT_GROUP = "pimc.strategies"
#: What a recovery does where nobody says otherwise.
DEFAULT = "selective"


class Strategy(Protocol):
    """A recipe for recovering a die.

    Attributes:
        name: what users call it.
        needs_chip: a capture alone is not enough.
        uses: which of the options that say what may be done it looks at, by their name on the
            command line; a user who gives another is told.
    """

    name: ClassVar[str]
    needs_chip: ClassVar[bool]
    uses: ClassVar[Sequence[str]]

    def steps(self, options: RecoverOptions, *, chip: bool) -> Sequence[Step]:
        """What is done, one after the other; every state worth keeping is judged.

        A step takes the bench and the state and returns the next state. A recovery can be cut
        between steps and within them: one that was cut is done again from its start, so what a
        step needs to know of earlier ones lies in the state.

        Args:
            chip: the chip is at hand, not only a capture of it.
        """
        ...


class StrategyInfo(NamedTuple):
    """One strategy as a listing shows it."""

    name: str
    description: str


_BUILT_IN: dict[str, type[Strategy]] = {
    kind.name: kind
    for kind in (Nothing, Affine, Vat, VatKd, Layerwise, FullRewrite, Residual, Selective)
}
_STRATEGIES = Extensions(ENTRY_POINT_GROUP, "strategy", _BUILT_IN, listed="there are")


def strategies() -> list[StrategyInfo]:
    """All strategies: ours from the plainest on, then those of other packages by name.

    Raises:
        UsageError: a strategy of another package cannot be loaded.
    """
    return [StrategyInfo(name, _first_line(_STRATEGIES.load(name))) for name in _STRATEGIES.names()]


def strategy_named(name: str, *, chip: bool = True) -> Strategy:
    """The strategy of this name.

    Args:
        chip: the chip is at hand, not only a capture of it.

    Raises:
        UsageError: there is none, it cannot be loaded, or it needs the chip.
    """
    found: Strategy = _STRATEGIES.load(name)()
    if found.needs_chip and not chip:
        raise UsageError(
            "this strategy needs the chip, and there is only a capture",
            where=name,
            hint="name a die, or take another strategy",
        )
    return found


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0].rstrip(".")
