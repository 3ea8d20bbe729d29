"""What recoveries of several dies have in common, worked out once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.recover.options import RecoverOptions
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
    _of: tuple[str, Dataset, RecoverOptions] | None = field(default=None, repr=False)
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)

    def belongs_to(self, image: Image, data: Dataset, options: RecoverOptions) -> None:
        """Forget what is kept where it belongs to something else.

        Data count as the same where they are the same object: to read them all, only to tell,
        would take as long as to work with them.
        """
        of = self._of
        if of is None or of[0] != image.sha256 or of[1] is not data or of[2] != options:
            self._of, self._kept = (image.sha256, data, options), {}

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What ``make`` gave when it was asked for first; what it raises is raised each time."""
        if name not in self._kept:
            self._kept[name] = make()
        found: T = self._kept[name]
        return found

    def __reduce__(self) -> tuple[type[Common], tuple[HardenedCache]]:
        """Everything can be worked out again on the other side."""
        return Common, (self.hardened,)
