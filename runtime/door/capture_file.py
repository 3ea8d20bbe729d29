"""The capture file: what a die returned for known inputs. See ``docs/capture-format.md``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pimc.chip.converters import code_limits, line_limits
from pimc.errors import CaptureError, OtherImageError
from pimc.files import container
from pimc.files.kinds.reading import read_as
from pimc.files.migrate import Step, up_to_date
from pimc.files.schema import Range, by_name, misfits, outside, tensor, tensors_of
from pimc.image.image import Image, layer_tensor

FORMAT = "pimc-capture"
VERSION = 1
#: From each older version to the next.
STEPS: Mapping[int, Step] = {}
SUFFIX = ".pimccap"

#: Converter codes: int16 or int32.
Codes = npt.NDArray[np.int16] | npt.NDArray[np.int32]

#: What was recorded of a layer: codes of every tile, sums of them, or the network's outputs only.
Record = Literal["codes", "sums", "outputs"]

_CODE_TYPES = ("int16", "int32")
_HINT = "docs/capture-format.md describes the format"


def as_codes(values: npt.NDArray[np.float32], limits: tuple[int, int]) -> Codes:
    """Converter codes in the smallest type of a file that holds all within ``limits``."""
    held = np.iinfo(np.int16)
    if held.min <= limits[0] and limits[1] <= held.max:
        return values.astype(np.int16)
    return values.astype(np.int32)


@dataclass(frozen=True)
class LayerCapture:
    """What the tiles of one layer gave for known inputs.

    Attributes:
        inputs: (blocks, rows, vectors) DAC codes on the wordlines.
        codes: (repeats, blocks, columns, vectors) ADC codes, those of bit planes shifted and
            added; every read draws new noise. No repeats where only the outputs were to be had.
        outputs: (groups · cols, vectors) the layer's output, mean of the repeats.
    """

    inputs: Codes = field(
        repr=False,
        metadata=tensor(
            _CODE_TYPES,
            ("blocks", "rows", "vectors"),
            "DAC codes applied to the wordlines",
            values="DAC codes",
        ),
    )
    codes: Codes = field(
        repr=False,
        metadata=tensor(
            _CODE_TYPES,
            ("repeats", "blocks", "columns", "vectors"),
            "raw ADC codes, every read on its own; no repeats where only sums were to be had",
            values="ADC codes",
        ),
    )
    outputs: npt.NDArray[np.float32] = field(
        repr=False,
        metadata=tensor(
            "float32",
            ("groups · cols", "vectors"),
            "the layer's output for these inputs, from the mean code of the repeats",
        ),
    )


#: The tensors of a layer.
LAYER_CAPTURE = tensors_of(LayerCapture)


@dataclass(frozen=True)
class Capture:
    """A capture in memory.

    Attributes:
        image_sha256: the image that the die held.
        die: name of the die.
        taken: time of the capture as the one who took it states it, ISO 8601; may be empty.
        reads: array reads that the device had counted when the capture began, −1 where unknown.
        layers: by layer number.
        outputs: network outputs by name, one row a calibration input; may be empty.
    """

    image_sha256: str
    die: str
    layers: Mapping[int, LayerCapture]
    outputs: Mapping[str, npt.NDArray[np.float32]]
    taken: str = ""
    reads: int = -1

    @property
    def record(self) -> Record:
        """What there is of the chip: the finest that every captured layer has."""
        if not self.layers:
            return "outputs"
        whole = all(len(layer.codes) for layer in self.layers.values())
        return "codes" if whole else "sums"

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            UsageError: the file cannot be written.
        """
        tensors: dict[str, npt.NDArray[Any]] = {
            name: value
            for index, layer in self.layers.items()
            for name, value in by_name(layer, partial(layer_tensor, index)).items()
        }
        tensors |= {f"output.{name}": value for name, value in self.outputs.items()}
        manifest = {
            "image": self.image_sha256,
            "die": self.die,
            "taken": self.taken,
            "reads": self.reads,
            "layers": sorted(self.layers),
            "outputs": sorted(self.outputs),
        }
        container.save(path, *container.seal(FORMAT, VERSION, manifest, tensors))

    @staticmethod
    @read_as("capture")
    def load(path: str | Path, image: Image) -> Capture:
        """Read a capture of ``image``.

        Raises:
            CaptureError: the file is missing or damaged.
            OtherImageError: it belongs to another image.
        """
        content = container.load(path, FORMAT, VERSION, CaptureError)
        manifest, tensors = up_to_date(*content, VERSION, STEPS, CaptureError, str(path))
        try:
            if manifest["image"] != image.sha256:
                raise OtherImageError(
                    "this capture was taken of another image",
                    where=str(path),
                    hint="capture again with the image you recover",
                )
            layers = {
                index: LayerCapture(
                    **{name: tensors[layer_tensor(index, name)] for name in LAYER_CAPTURE}
                )
                for index in manifest["layers"]
            }
            for index, layer in layers.items():
                _check_layer(image, index, layer, str(path))
            return Capture(
                image.sha256,
                str(manifest["die"]),
                layers,
                {name: tensors[f"output.{name}"] for name in manifest["outputs"]},
                str(manifest.get("taken", "")),
                int(manifest.get("reads", -1)),
            )
        except (KeyError, IndexError, TypeError, ValueError) as cause:
            raise CaptureError(
                f"a key or tensor is missing or malformed: {cause}", where=str(path), hint=_HINT
            ) from cause


def _check_layer(image: Image, index: int, record: LayerCapture, where: str) -> None:
    layer = image.layers[index]
    blocks, rows, columns = image.cells(layer).shape
    sizes = {"blocks": blocks, "rows": rows, "columns": columns}
    sizes |= {"groups": layer.groups, "cols": layer.cols}
    ranges: dict[str, Range] = {
        "DAC codes": line_limits(image.chip, layer.input_signed),
        "ADC codes": code_limits(image.chip, layer.input_signed),
    }
    for name, problem in misfits(LAYER_CAPTURE, vars(record), sizes):
        message = f"{layer_tensor(index, name)} {problem}"
        raise CaptureError(message, where=where, hint=_HINT)
    if not record.inputs.shape[-1]:
        message = f"{layer_tensor(index, 'inputs')} holds no vectors"
        raise CaptureError(message, where=where, hint=_HINT)
    for name, spec in LAYER_CAPTURE.items():
        limits = outside(spec, getattr(record, name), ranges)
        if limits is not None:
            message = f"{layer_tensor(index, name)} holds values outside {limits[0]} to {limits[1]}"
            raise CaptureError(message, where=where, hint=_HINT)
