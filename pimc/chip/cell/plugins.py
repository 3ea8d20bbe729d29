"""A laboratory's own programming error: one class in one file, found by its entry point.

An entry point ``programming.NAME`` of the group ``pimc.physics`` names a class that is made of
the chip file's ``parameters`` and has the methods of
:class:`~pimc.chip.cell.programming_error.WriteModel`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pimc.chip.cell.programming_error import Array64, WriteModel
from pimc.chip.plugins.foreign import Foreign

__all__ = ["Plugin"]

_MOST_DRAWS = 64


@dataclass(frozen=True)
class Plugin:
    """An installed class as a kind of programming error; what it returns is checked.

    Args:
        name: the entry point's, without ``programming.``.
        parameters: what the class is made of.

    Attributes:
        draws: standard normal draws that one write takes; 1 where the class does not say.

    Raises:
        ChipError: no such entry point, or the class cannot be imported or made; later, that it
            fails or returns something else than finite numbers, one a target.
    """

    name: str
    parameters: tuple[float, ...]
    draws: int = field(init=False, compare=False, repr=False)
    _model: WriteModel = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        made = self._foreign.load(f"cell.sigma.plugin = {self.name}")
        model = self._foreign.call(made, *self.parameters)
        object.__setattr__(self, "_model", model)
        object.__setattr__(self, "draws", int(getattr(model, "draws", 1)))
        if not 1 <= self.draws <= _MOST_DRAWS:
            raise self._foreign.wrong(f"takes {self.draws} draws, not 1 to {_MOST_DRAWS}")

    @property
    def _foreign(self) -> Foreign:
        return Foreign("programming", self.name)

    def sigma_us(self, target_us: Array64) -> Array64:
        """The class's standard deviation in µS."""
        sigma = self._foreign.numbers(self._model.sigma_us, target_us.shape, target_us)
        if (sigma < 0).any():
            raise self._foreign.wrong("returned a negative standard deviation")
        return sigma.astype("float64")

    def sample(self, target_us: Array64, normals: Array64) -> Array64:
        """The class's conductances after a write in µS."""
        found = self._foreign.numbers(self._model.sample, target_us.shape, target_us, normals)
        return found.astype("float64")
