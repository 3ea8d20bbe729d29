"""A recording in place of a chip: answers reads that a capture holds, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pimc.errors import DeviceError
from pimc.image.image import Image
from pimc.runtime.die.region import Region
from pimc.runtime.door.capture_file import Capture, Codes

if TYPE_CHECKING:
    import torch


class ReplayDevice:
    """A capture file in place of a chip: answers reads that it holds, and no others.

    Args:
        image: the image the chip held.
        capture: a capture of it.
    """

    def __init__(self, image: Image, capture: Capture) -> None:
        self._image = image
        self._capture = capture
        self._index = {layer.name: layer.index for layer in image.layers}
        self._known: dict[str, dict[bytes, list[int]]] = {}

    @staticmethod
    def open(image: Image, *, die: Path | None = None, seed: int = 0) -> ReplayDevice:
        """The recording in the capture file ``die``.

        Raises:
            DeviceError: no file was named.
            CaptureError: the file is no capture of ``image``.
        """
        if die is None:
            raise DeviceError("a recording needs a file", where="replay", hint="use --die CAPTURE")
        return ReplayDevice(image, Capture.load(die, image))

    @property
    def name(self) -> str:
        """The die that was recorded."""
        return self._capture.die

    def program(
        self, cells: npt.NDArray[np.int64], levels: npt.NDArray[np.uint16]
    ) -> npt.NDArray[np.bool_]:
        """A recording cannot be written.

        Raises:
            DeviceError: always.
        """
        raise DeviceError("a recording cannot be written", where=self.name)

    def written(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The levels of the image that was recorded."""
        return self._image.levels.reshape(-1)[cells].astype(np.int64)

    def read(self, region: Region, inputs: torch.Tensor) -> torch.Tensor:
        """Mean of the codes of each vector; see :class:`~pimc.runtime.door.device.Device`.

        Raises:
            DeviceError: these inputs were not recorded.
        """
        import torch

        record = self._capture.layers.get(self._index[region.name])
        if record is None or not len(record.codes):
            raise DeviceError("codes of this layer were not recorded", where=region.name)
        known = self._known.setdefault(region.name, _by_vector(record.inputs))
        wanted = inputs.cpu().numpy().astype(np.int32)
        columns = [known.get(_key(wanted[b, :, :, p])) for b, p in np.ndindex(_vectors(wanted))]
        if None in columns:
            raise DeviceError(
                f"{columns.count(None)} of {len(columns)} input vectors were not recorded",
                where=region.name,
            )
        mean = record.codes.astype(np.float32).mean(axis=0)
        codes = np.stack([mean[:, :, same].mean(axis=2) for same in columns], axis=2)
        shape = (*codes.shape[:2], *_vectors(wanted))
        return torch.from_numpy(np.moveaxis(codes.reshape(shape), 2, 0)).to(inputs.device)


def _vectors(inputs: npt.NDArray[np.int32]) -> tuple[int, int]:
    return inputs.shape[0], inputs.shape[3]


def _key(vector: Codes) -> bytes:
    return vector.astype(np.int32).tobytes()


def _by_vector(inputs: Codes) -> dict[bytes, list[int]]:
    """The numbers of equal vectors."""
    found: dict[bytes, list[int]] = {}
    for v in range(inputs.shape[2]):
        found.setdefault(_key(inputs[:, :, v]), []).append(v)
    return found
