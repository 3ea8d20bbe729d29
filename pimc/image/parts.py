"""What an image is written from: typed sections and tensors, which may be made on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pimc.chip.design import Chip
from pimc.errors import ImageError
from pimc.files.container import Manifest
from pimc.files.schema import by_name, require
from pimc.files.tensor_file import Content
from pimc.image.format.notes import CalibrationNote, RecoveryNote, SourceModel
from pimc.image.format.tensors import IMAGE_TENSORS, ImageTensors, image_sizes
from pimc.image.layer import LayerRecord

__all__ = ["ImageParts"]


@dataclass(frozen=True, eq=False)
class ImageParts:
    """All that an image holds.

    Attributes:
        options: what the user chose when compiling.
        provenance: layer name → source node.
        phases: first array of each phase; (0,) where the chip holds the network at once.
    """

    chip: Chip
    model: SourceModel
    options: Mapping[str, Any]
    layers: Sequence[LayerRecord[Content]]
    provenance: Mapping[str, Mapping[str, Any]]
    tensors: ImageTensors[Content]
    phases: tuple[int, ...] = (0,)
    recovery: RecoveryNote | None = None
    calibration: CalibrationNote | None = None

    def manifest(self) -> Manifest:
        """The manifest, but for what the container adds."""
        phases = {"phases": list(self.phases)} if len(self.phases) > 1 else {}
        noted = self.calibration
        return {
            **phases,
            **({} if noted is None else {"calibration": noted.entry()}),
            "chip": self.chip.to_dict(),
            "model": asdict(self.model),
            "options": dict(self.options),
            "layers": [layer.entry() for layer in self.layers],
            "provenance": self.provenance,
            "recovery": None if self.recovery is None else asdict(self.recovery),
        }

    def contents(self) -> dict[str, Content]:
        """All tensors by their names in the file.

        Raises:
            ImageError: a tensor is not what the format says.
        """
        found: dict[str, Content] = by_name(self.tensors)
        require(IMAGE_TENSORS, found, image_sizes(self.chip), ImageError, "the image")
        for layer in self.layers:
            layer.require_tensors()
            found |= layer.tensors()
        return found
