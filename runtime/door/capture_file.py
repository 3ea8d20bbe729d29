"""The capture file: what a die returned for known inputs. See ``docs/capture-format.md``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from pimc.chip.converters import code_limits, line_limits
from pimc.errors import CaptureError, OtherImageError
from pimc.files import container
from pimc.files.kinds.reading import read_as
from pimc.files.manifest import read_object
from pimc.files.migrate import Step, up_to_date
from pimc.files.schema import (
    Range,
    TensorSpec,
    by_field,
    by_name,
    require,
    tensor,
    tensors_of,
)
from pimc.files.strict import key
from pimc.files.tensor_file import Tensor
from pimc.image.image import Image, layer_tensor

if TYPE_CHECKING:
    import onnx_ir as ir

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
            values="finite",
        ),
    )


#: The tensors of a layer.
LAYER_CAPTURE = tensors_of(LayerCapture)
_OF_LAYER = re.compile(rf"layer\.\d{{4,}}\.({'|'.join(LAYER_CAPTURE)})")
#: One of the network's outputs.
OUTPUT = TensorSpec(
    ("float32",),
    ("samples", "…"),
    "the network's output, one row a calibration input, for each name in `outputs`",
    values="finite",
)


@dataclass(frozen=True)
class CaptureEntry:
    """The keys of a capture's manifest, but for those that the container adds."""

    image: str = field(metadata=key("str", "identity of the image that the die held"))
    die: str = field(metadata=key("str", "name of the die"))
    layers: tuple[int, ...] = field(metadata=key("ints", "numbers of the captured layers", low=0))
    outputs: tuple[str, ...] = field(metadata=key("strs", "network outputs recorded"))
    taken: str = field(default="", metadata=key("str", "time of the capture, or empty"))
    reads: int = field(
        default=-1, metadata=key("int", "array reads when it began, −1: unknown", low=-1)
    )


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
        entry = CaptureEntry(
            image=self.image_sha256,
            die=self.die,
            layers=tuple(sorted(self.layers)),
            outputs=tuple(sorted(self.outputs)),
            taken=self.taken,
            reads=self.reads,
        )
        container.save(path, *container.seal(FORMAT, VERSION, asdict(entry), tensors))

    @staticmethod
    @read_as("capture")
    def load(path: str | Path, image: Image) -> Capture:
        """Read a capture of ``image``.

        Raises:
            CaptureError: the file is missing or damaged.
            OtherImageError: it belongs to another image.
        """
        where = str(path)
        content = container.load(path, FORMAT, VERSION, CaptureError)
        manifest, tensors = up_to_date(*content, VERSION, STEPS, CaptureError, where)
        entry = read_object(CaptureEntry, manifest, where, CaptureError, _HINT)
        if entry["image"] != image.sha256:
            raise OtherImageError(
                "this capture was taken of another image",
                where=where,
                hint="capture again with the image you recover",
            )
        _require_names(image, entry, tensors, where)
        declared = {value.name: value.shape for value in image.graph().graph.outputs}
        for name in entry["outputs"]:
            output = {f"output.{name}": _output(declared[name])}
            require(output, tensors, {}, CaptureError, where, ranges={}, hint=_HINT)
        return Capture(
            image.sha256,
            entry["die"],
            {index: _layer(image, index, tensors, where) for index in entry["layers"]},
            {name: tensors[f"output.{name}"] for name in entry["outputs"]},
            entry["taken"],
            entry["reads"],
        )


def _require_names(
    image: Image, entry: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str
) -> None:
    """Make sure that layers and outputs are some of the image's, and all tensors are theirs."""
    layers, outputs = entry["layers"], entry["outputs"]
    for name, found, known in (
        ("layers", layers, range(len(image.layers))),
        ("outputs", outputs, {value.name for value in image.graph().graph.outputs}),
    ):
        strange = [value for value in found if value not in known]
        if strange or len(set(found)) < len(found):
            text = f"the image has no {strange[0]!r}" if strange else "one is named twice"
            raise CaptureError(f"{name}: {text}", where=where, hint=_HINT)
    left = [
        f"tensor {name}"
        for name in tensors
        if (_OF_LAYER.fullmatch(name) and int(name.split(".")[1]) not in layers)
        or (name.startswith("output.") and name.removeprefix("output.") not in outputs)
    ]
    if left:
        raise CaptureError(f"{left[0]} is of nothing that is named", where=where, hint=_HINT)


def _output(declared: ir.Shape | None) -> TensorSpec:
    """The description of a network's output, as far as the graph declares its shape."""
    if not declared:
        return OUTPUT
    sizes = [dim if isinstance(dim, int) else f"size {n}" for n, dim in enumerate(declared)]
    return replace(OUTPUT, shape=("samples", *sizes[1:]))


def _layer(image: Image, index: int, tensors: Mapping[str, Tensor], where: str) -> LayerCapture:
    """What was recorded of a layer of the image."""
    layer = image.layers[index]
    blocks = layer.groups * layer.row_blocks
    sizes = {"blocks": blocks, "rows": layer.row_block, "columns": layer.bitlines}
    sizes |= {"groups": layer.groups, "cols": layer.cols}
    ranges: dict[str, Range] = {
        "DAC codes": line_limits(image.chip, layer.input_signed, layer.layout),
        "ADC codes": code_limits(image.chip, layer.input_signed),
    }
    named = partial(layer_tensor, index)
    found = by_field(LAYER_CAPTURE, tensors, named)
    require(
        LAYER_CAPTURE, found, sizes, CaptureError, where, ranges=ranges, named=named, hint=_HINT
    )
    record = LayerCapture(**{name: tensors[named(name)] for name in LAYER_CAPTURE})
    if not record.inputs.shape[-1]:
        raise CaptureError(f"tensor {named('inputs')} holds no vectors", where=where, hint=_HINT)
    return record
