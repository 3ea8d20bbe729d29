"""Taking a capture: choosing inputs, reading every tile, recording the network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from pimc.chip.converters import (
    code_limits,
    dac_limits,
    line_limits,
    two_phases,
)
from pimc.data.dataset import Dataset
from pimc.image.image import Image, ImageLayer
from pimc.plan.records import layer_of
from pimc.plan.vectors import sample
from pimc.progress import Progress, silent
from pimc.runtime.crossbar import CrossbarLayer
from pimc.runtime.door.abilities import reads_of
from pimc.runtime.door.capture_file import (
    SUFFIX,
    Capture,
    LayerCapture,
    Record,
    as_codes,
)
from pimc.runtime.door.device import Device
from pimc.runtime.feeds import tensors
from pimc.runtime.pools import Pools
from pimc.runtime.sequences import samples_first, unrolled
from pimc.runtime.session import BATCH_SIZE, Session

__all__ = [
    "SUFFIX",
    "Capture",
    "CaptureOptions",
    "LayerCapture",
    "Record",
    "capture",
    "capture_layer",
    "layer_by_layer",
]

#: Part of the ADC's range that a probe vector may fill.
_PROBE_FILL = 0.6
#: Standard deviations of the write errors that must fit into it as well.
_PROBE_SIGMAS = 2.5
#: Input vectors of a layer among which those to keep are chosen.
_POOL = 2048


@dataclass(frozen=True)
class CaptureOptions:
    """How much is captured.

    Attributes:
        vectors: input vectors a tile; half are the layer's own inputs, chosen so that they span
            its rows, half probes that reach the directions those leave out, signs of Hadamard
            matrices. Fewer are the layer's own where too few probes would be left for that.
        repeats: reads of each vector; their mean parts what is static from read noise.
        images: calibration images that the layer's own inputs are taken from.
        record: ``codes`` of every tile; ``sums``, the outputs of whole layers alone; or nothing
            but the network's ``outputs``.
        seed: seed of the choice.
    """

    vectors: int = 512
    repeats: int = 4
    images: int = 256
    record: Record = "codes"
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
        DataError: the data have not the network's inputs.
        DeviceError: the chip failed.
    """
    data = unrolled(data, session.image).on(session.get_inputs())
    reads = reads_of(session.device)
    return Capture(
        session.image.sha256,
        session.device.name,
        dict(layer_by_layer(session, data, options, only=only, progress=progress)),
        _outputs(session, data, progress) if outputs else {},
        taken,
        -1 if reads is None else reads,
    )


def layer_by_layer(
    session: Session,
    data: Dataset,
    options: CaptureOptions,
    *,
    only: Sequence[int] | None = None,
    progress: Progress = silent,
) -> Iterator[tuple[int, LayerCapture]]:
    """The layers of a capture one after the other, by number: together they are large.

    Arguments and errors are those of :func:`capture`.
    """
    data = unrolled(data, session.image).on(session.get_inputs())
    generator = torch.Generator().manual_seed(options.seed)
    wanted = range(len(session.image.layers)) if only is None else only
    layers = [layer for layer in session.image.layers if layer.index in set(wanted)]
    if options.record == "outputs" or not layers:
        return
    names = {layer.name for layer in layers}
    pools = _pools(session, data, options, names, generator, progress)
    for layer in progress(layers, "reading tiles", len(layers)):
        inputs = _chosen(pools[layer.name](), session.image, layer, options, generator)
        yield (
            layer.index,
            capture_layer(
                session.layers[layer.name],
                session.image,
                session.device,
                inputs,
                options.repeats,
                codes=options.record == "codes",
            ),
        )


def capture_layer(
    bound: CrossbarLayer,
    image: Image,
    device: Device,
    inputs: torch.Tensor,
    repeats: int,
    *,
    codes: bool = True,
) -> LayerCapture:
    """Read every tile of a layer ``repeats`` times for DAC codes (blocks, rows, vectors).

    Args:
        codes: keep what each read of each tile gave, not only the layer's outputs.
    """
    chip, signed = image.chip, bound.layer.input_signed
    driven = inputs.clamp_min(0) if two_phases(chip, signed) else inputs
    limits, kept = code_limits(chip, signed), list[npt.NDArray[Any]]()
    total: torch.Tensor | None = None
    for _ in range(repeats):
        read = device.read(bound.region, driven[None]).cpu()
        # As floats all repeats of a large layer would take gigabytes.
        kept.append(as_codes((read if codes else read[:0]).numpy(), limits))
        total = read.clone() if total is None else total.add_(read)
    assert total is not None  # it is read once at least
    return LayerCapture(
        inputs=as_codes(driven.numpy(), line_limits(chip, signed, bound.layer.layout)),
        codes=np.concatenate(kept),
        outputs=bound.outputs_of(total.div_(repeats), driven[None])[0].numpy(),
    )


def _pools(
    session: Session,
    data: Dataset,
    options: CaptureOptions,
    names: set[str],
    generator: torch.Generator,
    progress: Progress,
) -> dict[str, Callable[[], torch.Tensor]]:
    """(blocks, rows, vectors) DAC codes that each layer met, from evenly spread images.

    They are read when they are called for: together they are large.
    """
    count = min(options.images, len(data))
    images = data.subset(np.linspace(0, len(data) - 1, count).astype(np.int64))
    starts = range(0, count, BATCH_SIZE)
    share = -(-_POOL // len(starts))
    pools = Pools.empty()

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        name = layer_of(node)
        bound = session.layers[name]
        if name in names:
            vectors = sample(x, bound.layer.window, share, generator)
            lines = bound.lines_of(vectors).cpu().numpy()
            limits = line_limits(session.image.chip, bound.layer.input_signed, bound.layer.layout)
            # As small as in a capture.
            pools.add(name, as_codes(lines, limits))
        return bound(x)

    for start in progress(starts, "running the calibration images", len(starts)):
        session.evaluate(tensors(images.feed(start, start + BATCH_SIZE)), array=array)
    return {name: _of_size(pools, name, generator) for name in pools.names}


def _of_size(pools: Pools, name: str, generator: torch.Generator) -> Callable[[], torch.Tensor]:
    """What gives a pool; that of a layer that is used several times a run, brought back to size."""
    count = pools.vectors(name)
    if count < 2 * _POOL:
        return lambda: pools.take(name)
    chosen = torch.randperm(count, generator=generator)[:_POOL]
    return lambda: pools.take(name)[:, :, chosen]


def _chosen(
    pool: torch.Tensor,
    image: Image,
    layer: ImageLayer,
    options: CaptureOptions,
    generator: torch.Generator,
) -> torch.Tensor:
    """The vectors to read: the layer's own, and probes.

    Half of each, but as many probes as it takes to tell all wordlines apart, where there are so
    many vectors.
    """
    half, whole = options.vectors // 2, _order(pool.shape[1])
    own = half if options.vectors < whole else min(half, options.vectors - whole)
    own = min(own, pool.shape[2])
    probes = _probes(image, layer, options.vectors - own, generator)
    if not own:
        return probes
    spanning = _spanning(pool, own, generator)
    return torch.cat([pool[:, :, spanning].float(), probes], dim=2)


def _spanning(pool: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Indices of ``count`` vectors, the most independent ones of every block among them."""
    from scipy.linalg import qr

    per_block = max(1, count // pool.shape[0])
    chosen: dict[int, None] = {}
    for block in pool[:count].float().numpy():
        pivots = qr(block, mode="r", pivoting=True)[1]
        chosen |= dict.fromkeys(pivots[: min(per_block, block.shape[0])].tolist())
    chosen |= dict.fromkeys(torch.randperm(pool.shape[2], generator=generator).tolist())
    return torch.tensor(sorted(list(chosen)[:count]))


def _probes(
    image: Image, layer: ImageLayer, count: int, generator: torch.Generator
) -> torch.Tensor:
    """Vectors (blocks, wordlines, count) that tell wordlines apart, as strong as the ADC allows.

    The signs of Hadamard matrices: over as many vectors as the matrix has rows, any two wordlines
    are driven alike as often as not, so that noise reaches every cell's estimate alike and least.
    Signed inputs are driven with either sign, others are on or off, and of a pattern and its
    complement the one is taken that leaves more room in the ADC's range.

    With bit-serial inputs the codes are drawn at random, which makes an on-off pattern of every bit
    plane, and fewer wordlines are driven where the range asks for it.
    """
    chip, signed = image.chip, layer.input_signed
    blocks, lines, _ = image.cells(layer).shape
    # The second wordline of a pair is driven apart from the first: both cells come to light.
    sign = torch.from_numpy(np.resize(image.codebook_of(layer).drive, lines)).float()[:, None]
    high = dac_limits(chip, signed)[1]
    if chip.dac.mode == "bit_serial":
        on = torch.randint(0, 2, (blocks, lines, count), generator=generator).float()
        if signed and not two_phases(chip, True):
            sign, on = sign * (2 * on - 1), torch.ones_like(on)
        room = _room(image, layer, sign * on).amin(dim=1)[:, None, None]
        codes = torch.randint(1, high + 1, on.shape, generator=generator)
        return sign * codes * (torch.rand(on.shape, generator=generator) < room)
    signs = _hadamard(blocks, lines, count, generator)
    if signed and not two_phases(chip, True):
        pattern = sign * signs
        room = _room(image, layer, pattern)
    else:
        either = [sign * (one > 0) for one in (signs, -signs)]
        rooms = [
            # A vector that drives nothing tells nothing.
            torch.where(one.any(dim=1), _room(image, layer, one), 0.0)
            for one in either
        ]
        first = rooms[0] >= rooms[1]
        pattern = torch.where(first[:, None], either[0], either[1])
        room = torch.where(first, rooms[0], rooms[1])
    return pattern * room.floor().clamp(1, high)[:, None]


def _order(lines: int) -> int:
    """Rows of the smallest Hadamard matrix of Sylvester's with a column for each of ``lines``."""
    return 1 << max(lines - 1, 0).bit_length()


def _hadamard(blocks: int, lines: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """(blocks, lines, count) of 1 and −1: columns of Hadamard matrices, row after row.

    Every block has columns and an order of rows of its own, and other ones each time that all rows
    are used up.
    """
    order = _order(lines)
    found = torch.empty(blocks, lines, count)
    for block in found:
        for start in range(0, count, order):
            columns = torch.randperm(order, generator=generator)[:lines]
            rows = torch.randperm(order, generator=generator)[: count - start]
            both = columns[:, None] & rows
            for shift in (16, 8, 4, 2, 1):
                both = both ^ (both >> shift)
            block[:, start : start + order] = 1 - 2 * (both & 1)
    return found


def _room(image: Image, layer: ImageLayer, pattern: torch.Tensor) -> torch.Tensor:
    """(blocks, vectors) how many times each unit ``pattern`` fits into the ADC's range."""
    chip = image.chip
    cells = image.cells(layer)
    levels_us = np.asarray(chip.cell.g_levels_us)
    target_us = levels_us[image.levels.reshape(-1)[cells]] - image.chip.reference_us
    target = torch.from_numpy(np.where(cells >= 0, target_us, 0.0)).float()
    # Room for what cells and reference are away from their targets.
    sigma_us = np.asarray(chip.cell.sigma.sigma_us(levels_us)).max()
    driven = pattern.abs().sum(dim=1)
    error = _PROBE_SIGMAS * float(sigma_us) * (2 * driven).sqrt()
    lsb = torch.as_tensor(np.broadcast_to(layer.lsb_us, cells.shape[::2]).copy()).float()
    current = torch.einsum("brc,brv->bcv", target, pattern).abs()
    codes = ((current + error[:, None]) / lsb[:, :, None]).amax(dim=1)
    room: torch.Tensor = 2 ** (chip.adc.bits - 1) * _PROBE_FILL / codes.clamp_min(1e-9)
    return room


def _outputs(
    session: Session, data: Dataset, progress: Progress
) -> dict[str, npt.NDArray[np.float32]]:
    names = [arg.name for arg in session.get_outputs()]
    starts = range(0, len(data), BATCH_SIZE)
    parts = [
        session.run(names, data.feed(start, start + BATCH_SIZE))
        for start in progress(starts, "recording network outputs", len(starts))
    ]
    return {
        name: np.concatenate(
            [np.asarray(samples_first(part[k], data, name), np.float32) for part in parts]
        )
        for k, name in enumerate(names)
    }
