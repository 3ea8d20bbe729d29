"""A laboratory's own physics: one class in one file, found by its entry point.

An entry point ``programming.NAME`` of the group ``pimc.physics`` names a class that is made of
the chip file's ``parameters`` and has the methods of
:class:`~pimc.chip.cell.programming_error.WriteModel`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pimc.chip.cell.programming_error import Array64, WriteModel
from pimc.errors import ChipError
from pimc.files.entry_points import Extensions

__all__ = ["ENTRY_POINT_GROUP", "Plugin"]

ENTRY_POINT_GROUP = "pimc.physics"
_PREFIX = "programming."
_PLUGINS = Extensions(
    ENTRY_POINT_GROUP, "plugin", prefix=_PREFIX, unknown=ChipError, broken=ChipError
)
_MOST_DRAWS = 64


@dataclass(frozen=True)
class Plugin:
    """An installed class as a kind of programming error; what it returns is checked.

    Args:
        name: the entry point's, without ``programming.``.
        parameters: what the class is made of.

    Raises:
        ChipError: no such entry point, or the class cannot be imported or made; later, that it
            fails or returns something else than finite numbers, one a target.
    """

    name: str
    parameters: tuple[float, ...]
    _model: WriteModel = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_model", self._call(self._class(), *self.parameters))
        if not 1 <= self.draws <= _MOST_DRAWS:
            raise self._wrong(f"takes {self.draws} draws, not 1 to {_MOST_DRAWS}")

    def _class(self) -> Callable[..., Any]:
        where = f"cell.sigma.plugin = {self.name}"
        made: Callable[..., Any] = _PLUGINS.load(self.name, where=where)
        return made

    @property
    def draws(self) -> int:
        """Standard normal draws that one write takes; 1 where the class does not say."""
        return int(getattr(self._model, "draws", 1))

    def sigma_us(self, target_us: Array64) -> Array64:
        """The class's standard deviation in µS."""
        sigma = self._numbers(self._model.sigma_us, target_us)
        if (sigma < 0).any():
            raise self._wrong("returned a negative standard deviation")
        return sigma

    def sample(self, target_us: Array64, normals: Array64) -> Array64:
        """The class's conductances after a write in µS."""
        return self._numbers(self._model.sample, target_us, normals)

    def _numbers(self, method: Callable[..., Any], target_us: Array64, *more: Array64) -> Array64:
        found = np.asarray(self._call(method, target_us, *more))
        if found.shape != target_us.shape or found.dtype.kind not in "fiu":
            raise self._wrong(f"returned {found.dtype} of shape {found.shape}, not numbers of "
                              f"shape {target_us.shape}")  # fmt: skip
        if not np.isfinite(found).all():
            raise self._wrong("returned a value that is not finite")
        return found.astype(np.float64)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as cause:  # whatever a foreign class does
            raise self._wrong(f"failed: {cause or type(cause).__name__}") from cause

    def _wrong(self, what: str) -> ChipError:
        return ChipError(f"the plugin {what}", where=f"{_PREFIX}{self.name}")
