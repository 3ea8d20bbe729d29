"""The chip image: everything a driver needs to program and run a chip, in one file.

One safetensors file with one metadata key, ``manifest``: canonical JSON with a SHA-256
for every tensor and for itself. The format is specified in ``docs/image-format.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip
from pimc.errors import ImageError
from pimc.files import container
from pimc.files.container import Content, Tensor
from pimc.files.kinds.reading import read_as
from pimc.files.migrate import up_to_date
from pimc.files.weights.packing import bits_per_cell, pack_levels, unpack_levels
from pimc.image.content import ImageContent
from pimc.image.format.migrations import FORMAT, STEPS, VERSION
from pimc.image.format.notes import DriftNote, RecoveryNote
from pimc.image.format.tables import TILE_FIELDS
from pimc.image.format.tensors import layer_tensor
from pimc.image.layer import ImageLayer
from pimc.image.rules.sound import require_sound

if TYPE_CHECKING:
    from pimc.passes.recover.module import ChipModule, Through
    from pimc.runtime.die.die import Die

__all__ = [
    "FORMAT",
    "SUFFIX",
    "TILE_FIELDS",
    "VERSION",
    "Image",
    "ImageLayer",
    "RecoveryNote",
    "layer_tensor",
]

SUFFIX = ".pimc"


@dataclass(frozen=True)
class Image(ImageContent):
    """A chip image in memory."""

    def __repr__(self) -> str:
        layers, arrays = f"{len(self.layers):,} layers", f"{self.arrays:,} arrays"
        of = f"{self.model.name} for {self.chip.name}"
        return f"Image({of}: {layers} in {arrays}, {self.sha256[:12]})"

    def _repr_html_(self) -> str:
        """What notebooks show: facts and layers."""
        import pimc

        return pimc.brief(self)

    @staticmethod
    def build(manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Image:
        """An image from its parts; hashes are filled in."""
        return Image(*container.seal(FORMAT, VERSION, manifest, tensors))

    @staticmethod
    def written(
        path: str | Path, manifest: Mapping[str, Any], contents: Mapping[str, Content]
    ) -> Image:
        """An image from its parts, written while they are worked out, and read from the file.

        Raises:
            UsageError: the file cannot be written.
        """
        return Image(*container.stream(path, FORMAT, VERSION, manifest, contents))

    def updated(
        self,
        *,
        levels: npt.NDArray[np.uint16] | None = None,
        cells: npt.NDArray[np.int64] | None = None,
        columns: Mapping[int, Mapping[str, Tensor]] | None = None,
        **manifest: Any,
    ) -> Image:
        """A new image with other levels, other layer tensors or other manifest entries.

        Other levels of ``cells`` cost what the arrays do in which these lie, beside one copy and
        one hash of the packed bytes; what stays is not hashed again.

        Args:
            levels: of every cell, (arrays, rows, cols), or of ``cells`` alone.
            cells: addresses of those that ``levels`` is of, each at most once.
            columns: tensors by name, by number of the layer; :meth:`with_layers` is typed.
        """
        tensors = dict(self.tensors)
        if levels is not None:
            if cells is None:
                cells = np.flatnonzero(levels != self.levels)
                levels = levels.reshape(-1)[cells]
            tensors["levels"] = self._packed(cells, levels)
        for index, values in (columns or {}).items():
            tensors |= {layer_tensor(index, name): value for name, value in values.items()}
        return self._resealed({**self.manifest, **manifest}, tensors)

    def with_layers(self, layers: Iterable[ImageLayer]) -> Image:
        """A new image with ``layers`` in place of those of their numbers.

        Fields that are None are left out of the file. What stays is not hashed again.

        Raises:
            ImageError: a tensor is not of the type and shape that the format says.
        """
        entries, tensors = list(self.manifest["layers"]), dict(self.tensors)
        for layer in layers:
            layer.require_tensors()
            number, old = layer.index, self.layers[layer.index]
            before, after = old.entry(), layer.entry()
            changed = {name: value for name, value in after.items() if value != before[name]}
            entries[number] = {**entries[number], **changed}
            for name in old.tensors():
                del tensors[name]
            tensors |= layer.tensors()
        return self._resealed({**self.manifest, "layers": entries}, tensors)

    def with_chip(self, chip: Chip) -> Image:
        """The same levels and tables for another chip."""
        return self.updated(chip=chip.to_dict())

    def with_options(self, **options: Any) -> Image:
        """A new image that notes more of what was chosen when it was compiled."""
        return self.updated(options={**self.options, **options})

    def with_recovery(self, note: RecoveryNote) -> Image:
        """A new image with the note of the recovery that wrote it."""
        return self.updated(recovery=asdict(note))

    def with_drift(self, note: DriftNote | None, layers: Iterable[ImageLayer]) -> Image:
        """A new image whose digital side follows drift as ``layers`` say; None: that does not."""
        manifest = {name: value for name, value in self.manifest.items() if name != "drift"}
        noted = {} if note is None else {"drift": {**asdict(note), "ages_s": list(note.ages_s)}}
        return self._resealed({**manifest, **noted}, self.tensors).with_layers(layers)

    def since(self, parent: Image) -> tuple[list[Any], dict[str, Tensor]]:
        """What differs from ``parent`` as to layers and tensors, for :meth:`with_changes`."""
        own = parent.tensors
        changed = {
            name: value
            for name, value in self.tensors.items()
            if name not in own or not np.array_equal(own[name], value)
        }
        return list(self.manifest["layers"]), changed

    def with_changes(self, layers: list[Any], tensors: Mapping[str, Tensor]) -> Image:
        """The image that differs from this one by what :meth:`since` gave."""
        return Image.build({**self.manifest, "layers": layers}, {**self.tensors, **tensors})

    def _resealed(self, manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Image:
        """An image some of whose tensors are this one's, and not hashed again."""
        old = self.manifest.get("tensors", {})
        known = {
            name: old[name]
            for name, value in tensors.items()
            if name in old and value is self.tensors.get(name)
        }
        found = Image(*container.seal(FORMAT, VERSION, manifest, tensors, known))
        if "levels" in vars(self) and tensors["levels"] is self.tensors["levels"]:
            ours, theirs = self.chip, found.chip
            if ours.array == theirs.array and ours.cell.levels == theirs.cell.levels:
                # Two bytes a cell, and a recovery has many images.
                vars(found)["levels"] = self.levels
        return found

    def _packed(self, cells: npt.NDArray[np.int64], levels: npt.NDArray[np.uint16]) -> Tensor:
        """The packed levels, those of some cells replaced."""
        chip = self.chip
        bits, size = bits_per_cell(chip.cell.levels), chip.array.rows * chip.array.cols
        array, place = np.divmod(cells, size)
        touched, row = np.unique(array, return_inverse=True)
        packed = self.packed_levels.copy()
        held = unpack_levels(packed[touched], bits, size)
        held[row, place] = levels
        packed[touched] = pack_levels(held, bits)
        return packed

    def module(
        self,
        die: Die | None = None,
        *,
        fresh: bool = False,
        through: Through = "chip",
        converters: bool = True,
        seed: int = 0,
    ) -> ChipModule:
        """The image as a ``torch.nn.Module``: what a simulated die gives, with gradients.

        Arguments and errors are those of :func:`pimc.module`, where it is made: an image knows
        nothing of what runs it.
        """
        import pimc

        return pimc.module(
            self, die, fresh=fresh, through=through, converters=converters, seed=seed
        )

    def to_bytes(self) -> bytes:
        """The file's bytes; equal images give equal bytes."""
        return container.to_bytes(self.manifest, self.tensors)

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            UsageError: the file cannot be written.
        """
        container.save(path, self.manifest, self.tensors)

    @staticmethod
    def from_bytes(data: bytes) -> Image:
        """Verify an image that is held in memory: the content of its file.

        Raises:
            ImageError: as :meth:`load` does.
        """
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "bytes"
            path.write_bytes(data)
            try:
                return Image.load(path)  # mapped: it stays when the file's name is gone
            except ImageError as cause:
                where = (cause.where or "").replace(str(path), f"{len(data):,} bytes")
                raise ImageError(cause.message, where, cause.hint) from cause

    @staticmethod
    @read_as("image")
    def load(path: str | Path) -> Image:
        """Verify a file; its tensors are read from it when they are looked at.

        Raises:
            ImageError: not an image, damaged, altered, of a newer format version, or not what
                the format says (:func:`~pimc.image.rules.sound.require_sound`).
        """
        manifest, tensors = container.load(path, FORMAT, VERSION, ImageError, in_place=True)
        image = Image(manifest, tensors)
        if manifest["version"] != VERSION:
            newer = up_to_date(manifest, tensors, VERSION, STEPS, ImageError, str(path))
            sealed = image._resealed(*newer)
            image = Image(sealed.manifest, sealed.tensors, identity=image.sha256)
        try:
            require_sound(image)
        except ImageError as cause:
            where = f"{path}, {cause.where}"
            raise ImageError(cause.message, where, cause.hint) from cause
        return image
