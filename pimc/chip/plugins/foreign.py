"""Classes of other packages: found by entry point, called so that their mistakes are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.errors import ChipError
from pimc.files.entry_points import Extensions

__all__ = ["ENTRY_POINT_GROUP", "Array64", "Foreign"]

ENTRY_POINT_GROUP = "pimc.physics"

Array64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Foreign:
    """An entry point ``KIND.NAME`` of the group, and what is wrong with what it names."""

    kind: str
    name: str

    def __str__(self) -> str:
        """The entry point's name."""
        return f"{self.kind}.{self.name}"

    def load(self, where: str) -> Any:
        """What the entry point names.

        Args:
            where: the place of the chip file that asks for it.

        Raises:
            ChipError: it is not installed, or cannot be imported.
        """
        kinds = Extensions(
            ENTRY_POINT_GROUP,
            "plugin",
            prefix=f"{self.kind}.",
            unknown=ChipError,
            broken=ChipError,
        )
        return kinds.load(self.name, where=where)

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """What a function of the plugin's returns.

        Raises:
            ChipError: it fails.
        """
        try:
            return function(*arguments, **named)
        except Exception as cause:  # whatever a foreign class does
            raise self.wrong(f"failed: {cause or type(cause).__name__}") from cause

    def numbers(
        self, function: Callable[..., Any], shape: tuple[int, ...], *arguments: Any
    ) -> npt.NDArray[Any]:
        """The numbers that a function of the plugin's returns, as it returns them.

        Raises:
            ChipError: it fails, or returns something else than finite numbers of this shape.
        """
        found = np.asarray(self.call(function, *arguments))
        if found.shape != shape or found.dtype.kind not in "fiu":
            raise self.wrong(
                f"returned {found.dtype} of shape {found.shape}, not numbers of shape {shape}"
            )
        if not np.isfinite(found).all():
            raise self.wrong("returned a value that is not finite")
        return found

    def count(self, model: object, attribute: str, default: int, low: int, high: int) -> int:
        """A whole number that a class may state as an attribute.

        Raises:
            ChipError: it is none, or none from ``low`` to ``high``.
        """
        value = getattr(model, attribute, default)
        if not isinstance(value, int | np.integer) or not low <= value <= high:
            raise self.wrong(f"says {attribute} = {value}, which must be {low} to {high}")
        return int(value)

    def wrong(self, what: str, hint: str | None = None) -> ChipError:
        """The error that the plugin did something wrong."""
        return ChipError(f"the plugin {what}", where=str(self), hint=hint)
