"""What recoveries of several dies have in common, worked out once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pimc.passes.recover.train.harden import HardenedCache

__all__ = ["Common"]

T = TypeVar("T")


@dataclass(eq=False)
class Common:
    """All that depends on image, calibration data and options, and on no die.

    Recoveries that are handed the same one work it out once, and give the same as if each did it
    for itself. It keeps what belongs to the last image, data and options, and nothing else; a copy
    in another process begins empty.

    Attributes:
        hardened: the image trained before anything is written, which lasts longer.
    """

    hardened: HardenedCache = field(default_factory=HardenedCache)
    _of: str = field(default="", repr=False)
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)

    def belongs_to(self, what: str) -> None:
        """Forget what is kept where it belongs to something else.

        Args:
            what: fingerprint of all that it depends on.
        """
        if what != self._of:
            self._of, self._kept = what, {}

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What ``make`` gave when it was asked for first; what it raises is raised each time."""
        if name not in self._kept:
            self._kept[name] = make()
        found: T = self._kept[name]
        return found

    def __reduce__(self) -> tuple[type[Common], tuple[HardenedCache]]:
        """Everything can be worked out again on the other side."""
        return Common, (self.hardened,)
