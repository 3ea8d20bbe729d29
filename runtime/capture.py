"""Captures: what a die returned for known inputs. The format is in ``docs/capture-format.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from pimc import container
from pimc.converters import adc_limits, dac_limits, two_phases
from pimc.data import Dataset
from pimc.errors import CaptureError
from pimc.image import Image, ImageLayer, layer_tensor
from pimc.progress import Progress, silent
from pimc.runtime.crossbar import CrossbarLayer
from pimc.runtime.device import Device
from pimc.runtime.session import BATCH_SIZE, Session

FORMAT = "pimc-capture"
VERSION = 1
SUFFIX = ".pimccap"

Int16 = npt.NDArray[np.int16]

_FORMAT = "docs/capture-format.md describes the format"
#: Part of the ADC's range that a probe vector may fill.
_PROBE_FILL = 0.8
#: Input vectors of a layer among which those to keep are chosen.
_POOL = 2048


@dataclass(frozen=True)
class LayerCapture:
    """What the tiles of one layer gave for known inputs.

    Attributes:
        inputs: (blocks, rows, vectors) DAC codes.
        codes: (repeats, blocks, columns, vectors) ADC codes; every read draws new noise.
        outputs: (groups · cols, vectors) the layer's output, mean of the repeats.
    """

    inputs: Int16 = field(repr=False)
    codes: Int16 = field(repr=False)
    outputs: npt.NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True)
class Capture:
    """A capture in memory.

    Attributes:
        image_sha256: the image that the die held.
        die: name of the die.
        taken: time of the capture as the one who took it states it, ISO 8601; may be empty.
        reads: array reads the die had served when the capture began, −1 where unknown.
        layers: by layer number.
        outputs: network outputs by name, one row a calibration input; may be empty.
    """

    image_sha256: str
    die: str
    layers: Mapping[int, LayerCapture]
    outputs: Mapping[str, npt.NDArray[np.float32]]
    taken: str = ""
    reads: int = -1

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            UsageError: the file cannot be written.
        """
        tensors: dict[str, npt.NDArray[Any]] = {
            layer_tensor(index, name): value
            for index, layer in self.layers.items()
            for name, value in vars(layer).items()
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
    def load(path: str | Path, image: Image) -> Capture:
        """Read a capture of ``image``.

        Raises:
            CaptureError: the file is missing or damaged, or belongs to another image.
        """
        manifest, tensors = container.load(path, FORMAT, VERSION, CaptureError)
        try:
            if manifest["image"] != image.sha256:
                raise CaptureError(
                    "this capture was taken of another image",
                    where=str(path),
                    hint="capture again with the image you recover",
                )
            layers = {
                index: LayerCapture(
                    *(tensors[layer_tensor(index, name)] for name in ("inputs", "codes", "outputs"))
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
                f"a key or tensor is missing or malformed: {cause}", where=str(path), hint=_FORMAT
            ) from cause


@dataclass(frozen=True)
class CaptureOptions:
    """How much is captured.

    Attributes:
        vectors: input vectors a tile; half are the layer's own inputs, chosen so that they span
            its rows, half random probes that reach the directions those leave out.
        repeats: reads of each vector; their mean parts what is static from read noise.
        images: calibration images that the layer's own inputs are taken from.
        seed: seed of the choice.
    """

    vectors: int = 512
    repeats: int = 4
    images: int = 256
    seed: int = 0


def capture(
    session: Session,
    data: Dataset,
    options: CaptureOptions,
    *,
    outputs: bool = True,
    only: Sequence[int] | None = None,
    progress: Progress = silent,
    taken: str = "",
) -> Capture:
    """Record what the session's die computes.

    Args:
        outputs: also record the network outputs for all of ``data``.
        only: layer numbers to record; all if None.
        taken: time to note in the capture.

    Raises:
        DeviceError: the chip failed.
    """
    generator = torch.Generator().manual_seed(options.seed)
    layers = [layer for layer in session.image.layers if only is None or layer.index in set(only)]
    pools = _pools(session, data, options, {layer.name for layer in layers}, generator, progress)
    return Capture(
        session.image.sha256,
        session.device.name,
        {
            layer.index: capture_layer(
                session.layers[layer.name],
                session.image,
                session.device,
                _chosen(pools[layer.name], session.image, layer, options, generator),
                options.repeats,
            )
            for layer in progress(layers, "reading tiles", len(layers))
        },
        _outputs(session, data, progress) if outputs else {},
        taken,
    )


def capture_layer(
    bound: CrossbarLayer, image: Image, device: Device, inputs: torch.Tensor, repeats: int
) -> LayerCapture:
    """Read every tile of a layer ``repeats`` times for DAC codes (blocks, rows, vectors)."""
    driven = inputs.clamp_min(0) if two_phases(image.chip, bound.layer.input_signed) else inputs
    codes = torch.cat([device.read(bound.region, driven[None]).cpu() for _ in range(repeats)])
    return LayerCapture(
        inputs=driven.numpy().astype(np.int16),
        codes=codes.numpy().astype(np.int16),
        outputs=bound.outputs_of(codes.mean(dim=0, keepdim=True), driven[None])[0].numpy(),
    )


def _pools(
    session: Session,
    data: Dataset,
    options: CaptureOptions,
    names: set[str],
    generator: torch.Generator,
    progress: Progress,
) -> dict[str, torch.Tensor]:
    """(blocks, rows, vectors) DAC codes that each layer met, from evenly spread images."""
    count = min(options.images, len(data))
    images = data.subset(np.linspace(0, len(data) - 1, count).astype(np.int64))
    starts = range(0, count, BATCH_SIZE)
    share = -(-_POOL // len(starts))
    pools: dict[str, list[torch.Tensor]] = {}

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        name = node.attributes["layer"].as_string()
        y, record = session.layers[name].record(x)
        if name in names:
            met = record.inputs.permute(1, 2, 0, 3).flatten(2)
            some = torch.randperm(met.shape[2], generator=generator)[:share]
            pools.setdefault(name, []).append(met[:, :, some].cpu())
        return y

    feed = session.get_inputs()[0].name
    for start in progress(starts, "running the calibration images", len(starts)):
        values = torch.from_numpy(images.batch(start, start + BATCH_SIZE))
        session.evaluate({feed: values}, array=array)
    return {name: torch.cat(parts, dim=2) for name, parts in pools.items()}


def _chosen(
    pool: torch.Tensor,
    image: Image,
    layer: ImageLayer,
    options: CaptureOptions,
    generator: torch.Generator,
) -> torch.Tensor:
    """The vectors to read: the layer's own, and probes."""
    own = min(options.vectors // 2, pool.shape[2])
    spanning = _spanning(pool, own, generator)
    probes = _probes(image, layer, options.vectors - own, generator)
    return torch.cat([pool[:, :, spanning], probes], dim=2)


def _spanning(pool: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Indices of ``count`` vectors, the most independent ones of every block among them."""
    from scipy.linalg import qr

    per_block = max(1, count // pool.shape[0])
    chosen: dict[int, None] = {}
    for block in pool[:count].numpy():
        pivots = qr(block, mode="r", pivoting=True)[1]
        chosen |= dict.fromkeys(pivots[: min(per_block, block.shape[0])].tolist())
    chosen |= dict.fromkeys(torch.randperm(pool.shape[2], generator=generator).tolist())
    return torch.tensor(sorted(list(chosen)[:count]))


def _probes(
    image: Image, layer: ImageLayer, count: int, generator: torch.Generator
) -> torch.Tensor:
    """Random on-off vectors (blocks, rows, count), as strong as the ADC's range allows."""
    chip = image.chip
    cells = image.cells(layer)
    levels_us = np.asarray(chip.cell.g_levels_us)
    target_us = levels_us[image.levels.reshape(-1)[cells]] - image.codebook.reference_us
    target = torch.from_numpy(np.where(cells >= 0, target_us, 0.0)).float()
    blocks, rows, _ = target.shape
    pattern = torch.randint(0, 2, (blocks, rows, count), generator=generator).float()
    if layer.input_signed and not two_phases(chip, True):
        pattern = 2 * pattern - 1
    current = torch.einsum("brc,brv->bcv", target, pattern).abs().amax(dim=(1, 2))
    full_scale = 2 ** (chip.adc.bits - 1) * layer.adc_lsb_us * _PROBE_FILL
    high = dac_limits(chip, layer.input_signed)[1]
    strength = (full_scale / current.clamp_min(1e-9)).floor().clamp(1, high)
    probes: torch.Tensor = pattern * strength[:, None, None]
    return probes


def _outputs(
    session: Session, data: Dataset, progress: Progress
) -> dict[str, npt.NDArray[np.float32]]:
    names = [arg.name for arg in session.get_outputs()]
    feed = session.get_inputs()[0].name
    starts = range(0, len(data), BATCH_SIZE)
    parts = [
        session.run(names, {feed: data.batch(start, start + BATCH_SIZE)})
        for start in progress(starts, "recording network outputs", len(starts))
    ]
    return {
        name: np.concatenate([np.asarray(part[k], np.float32) for part in parts])
        for k, name in enumerate(names)
    }


def _check_layer(image: Image, index: int, record: LayerCapture, where: str) -> None:
    layer = image.layers[index]
    blocks, rows, columns = image.cells(layer).shape
    repeats, vectors = record.codes.shape[0], record.inputs.shape[-1]
    dac = dac_limits(image.chip, layer.input_signed)
    adc = adc_limits(image.chip, layer.input_signed)
    expected: dict[str, tuple[str, tuple[int, ...], tuple[float, float]]] = {
        "inputs": ("int16", (blocks, rows, vectors), dac),
        "codes": ("int16", (repeats, blocks, columns, vectors), adc),
        "outputs": ("float32", (layer.groups * layer.cols, vectors), (-np.inf, np.inf)),
    }
    for name, (dtype, shape, (low, high)) in expected.items():
        found = getattr(record, name)
        tensor = layer_tensor(index, name)
        if (found.dtype.name, found.shape) != (dtype, shape) or 0 in shape:
            message = f"{tensor} is {found.dtype} {found.shape}, expected {dtype} {shape}"
            raise CaptureError(message, where=where, hint=_FORMAT)
        if not (found.min() >= low and found.max() <= high):
            message = f"{tensor} holds values outside {low} to {high}"
            raise CaptureError(message, where=where, hint=_FORMAT)
