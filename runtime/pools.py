"""Input vectors of layers, of which some are read later; what is much lies on the disk."""

from __future__ import annotations

import tempfile
import weakref
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["Pools"]

#: Bytes of all pools beyond which they lie on the disk.
_MEMORY_BYTES = 1 << 24


@dataclass(frozen=True, eq=False)
class Pools:
    """What layers met, part by part, until it is taken layer by layer."""

    _file: tempfile.SpooledTemporaryFile[bytes] = field(repr=False)
    _parts: dict[str, list[tuple[int, tuple[int, ...], np.dtype[np.integer]]]] = field(
        default_factory=dict, repr=False
    )

    @staticmethod
    def empty() -> Pools:
        """Pools with a file of their own, which goes when they do."""
        file = tempfile.SpooledTemporaryFile(_MEMORY_BYTES)  # noqa: SIM115, it lives as long
        found = Pools(file)
        weakref.finalize(found, file.close)
        return found

    def add(self, name: str, codes: npt.NDArray[np.integer]) -> None:
        """Add (blocks, rows, vectors) DAC codes to the pool of a layer."""
        place = self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(codes).reshape(-1).view(np.uint8).data)
        self._parts.setdefault(name, []).append((place, codes.shape, codes.dtype))

    @property
    def names(self) -> list[str]:
        """Of the layers, in the order in which they were met first."""
        return list(self._parts)

    def vectors(self, name: str) -> int:
        """How many a layer has."""
        return sum(shape[2] for _, shape, _ in self._parts[name])

    def take(self, name: str) -> torch.Tensor:
        """(blocks, rows, vectors) all that was added for a layer, in order."""
        found = []
        for place, shape, dtype in self._parts[name]:
            codes = np.empty(shape, dtype)
            self._file.seek(place)
            self._file.readinto(codes.reshape(-1).view(np.uint8).data)
            found.append(torch.from_numpy(codes))
        return torch.cat(found, dim=2)
