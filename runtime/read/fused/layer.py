"""The fused read of one layer: its cells packed, the work shared out to threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np
import numpy.typing as npt
import torch

from pimc.chip.converters import adc_limits, dac_limits, plane_weights, two_phases
from pimc.chip.design import Chip
from pimc.image.image import ImageLayer
from pimc.plan.vectors import unfold
from pimc.runtime.die.fixed import LARGEST_CODE, Fixed, FixedBank, FixedColumns, fits
from pimc.runtime.read.adc import Adc
from pimc.runtime.read.digital_side import DigitalSide
from pimc.runtime.read.fused.layout import Layout
from pimc.runtime.read.fused.records import COLUMNS, Cells, Drive, Outputs, Reading, Scratch
from pimc.runtime.read.threads import threads
from pimc.work.threads import shared_out

Array32 = npt.NDArray[np.float32]
Array64 = npt.NDArray[np.float64]

#: Input vectors of a matrix product that are worked on like one sample of a convolution.
_STRIP = 64


@dataclass(frozen=True)
class Draws:
    """Which draws of read noise a read takes.

    Attributes:
        key: of the device, from :func:`pimc.runtime.read.noise.read_key`.
        region: number of the region.
        vector: number of the first input vector.
    """

    key: tuple[int, int]
    region: int
    vector: int


@dataclass(frozen=True, eq=False)
class FusedBank:
    """A region's cells and converters, packed for the layouts that were met."""

    fixed: FixedBank
    adc: Adc
    read_of_column: npt.NDArray[np.int64]
    _packed: dict[Layout, Cells] = field(default_factory=dict, repr=False)

    def cells(self, layout: Layout) -> Cells:
        """The cells as the kernel takes them."""
        if layout not in self._packed:
            self._packed[layout] = self._pack(layout)
        return self._packed[layout]

    @property
    def reads(self) -> int:
        """The most reads of a block."""
        return int(self.read_of_column.max(initial=0)) + 1

    def _pack(self, layout: Layout) -> Cells:
        current, variance, common = self.fixed.current, self.fixed.variance, self.fixed.common
        blocks, columns = self.read_of_column.shape
        nothing = np.zeros(0, np.int32)
        padding = ((0, 0), (0, -columns % COLUMNS))

        def scaled(values: torch.Tensor | float, unit: float | Array64 = 1.0) -> Array32:
            whole = torch.as_tensor(values).reshape(-1, 1 if isinstance(values, float) else columns)
            spread = np.broadcast_to(whole.cpu().numpy(), (blocks, columns)) * unit
            return np.pad(spread, padding).astype(np.float32)

        squares, typical = self.fixed.squares, self.fixed.typical
        square = squares.unit
        rests = typical is not None and squares.shift > 0
        own = np.sqrt(_quanta(variance) * square)
        beside = np.sqrt(np.broadcast_to(_quanta(common), (blocks, self.reads)) * square)
        beside = np.take_along_axis(beside, self.read_of_column, axis=1)
        return Cells(
            current=layout.packed(current.whole),
            variance=nothing if variance is None else layout.packed_squares(variance.whole),
            common=nothing if common is None else layout.packed_common(common.whole),
            rest=layout.packed_common(typical.rows) if typical and rests else nothing,
            rest_unit=squares.rest_unit,
            typical=scaled(torch.from_numpy(typical.columns), squares.rest_unit)
            if typical and rests
            else scaled(0.0),
            slope=scaled(self.adc.rate, current.quantum * self.fixed.drives.unit),
            offset=scaled(self.adc.offset),
            sigma=scaled(self.adc.rate, own),
            shared=scaled(self.adc.rate, beside),
            # Without noise of reference columns there is one row of zeros to take.
            read=np.pad(self.read_of_column, padding) * (common is not None),
        )


@dataclass(frozen=True, eq=False)
class FusedLayer:
    """Reads one layer from its input to code sums; layouts are kept by input size."""

    chip: Chip
    layer: ImageLayer
    _layouts: dict[tuple[int, ...], Layout] = field(default_factory=dict, repr=False)
    _sides: dict[tuple[Layout, DigitalSide | None], Outputs] = field(
        default_factory=dict, repr=False
    )

    @staticmethod
    def fits(chip: Chip, layer: ImageLayer) -> bool:
        """Whether a layer has two dimensions at most, and its inputs are small whole numbers."""
        return (
            layer.input_scale is not None
            and (layer.window is None or len(layer.window.kernel) <= 2)
            and fits(chip, layer.input_signed)
        )

    def layout(self, x: torch.Tensor) -> Layout:
        """Where an input's rows and positions lie."""
        layer = self.layer
        if layer.window is None:
            channels, size = x.shape[-1], (1, _STRIP)
        else:
            channels, size = x.shape[1], (1, *x.shape[2:])[-2:]
        if (channels, *size) not in self._layouts:
            self._layouts[channels, *size] = Layout.of(
                layer.window,
                channels,
                size,
                layer.groups,
                layer.rows,
                layer.row_block,
                self._signs(),
            )
        return self._layouts[channels, *size]

    def read(
        self, bank: FusedBank, x: torch.Tensor, draws: Draws, side: DigitalSide | None = None
    ) -> tuple[torch.Tensor, int]:
        """Codes added over row blocks and bit planes, and how many of them were clipped.

        Args:
            x: the layer's input, float32 on the processor.
            side: what makes outputs of the code sums.

        Returns:
            (samples, groups · columns, positions); the samples of a matrix product are the first
            dimension of its input.
        """
        from pimc.runtime.read.fused.kernel import read_samples  # Numba takes long to import

        layout = self.layout(x)
        samples = self._samples(x)
        cells, layer = bank.cells(layout), self.layer
        low, high = adc_limits(self.chip, layer.input_signed)
        blocks, columns = bank.read_of_column.shape
        common = bank.fixed.common
        reading = Reading(
            float(low), float(high), layer.row_blocks, columns,
            0 if common is None else common.whole.shape[2],
            *draws.key, draws.region, draws.vector, len(x) * self.vectors(x), self.vectors(x),
            self.phases,
        )  # fmt: skip
        groups = blocks // layer.row_blocks
        outputs = self._outputs(layout, side)
        # Torch's memory, which is used again; NumPy's large arrays are new pages every time.
        result = torch.empty(len(samples), groups * columns, layout.positions)
        out = result.numpy()
        clipped = shared_out(
            len(samples),
            threads(),
            lambda first, last: read_samples(
                samples,
                out,
                first,
                last,
                layout.shape,
                self._drive(bank),
                layout.rows,
                cells,
                reading,
                outputs,
                Scratch.of(layout.shape, layout.rows, reading, outputs),
            ),
        )
        if layer.window is not None:
            return result, sum(clipped)
        flat = result.transpose(1, 2).flatten(0, 1)[: len(x) * self.vectors(x)]
        return flat.reshape(len(x), self.vectors(x), flat.shape[1]).transpose(1, 2), sum(clipped)

    def stress(self, table: torch.Tensor, x: torch.Tensor) -> npt.NDArray[np.int64]:
        """(blocks, rows) stress of reading the samples ``x``, as of their DAC codes.

        Codes overlap where windows do, so what a position adds is worked out once, and summed over
        all places where the window has it.

        Args:
            table: by the magnitude of a code, whole numbers.
        """
        layer, window = self.layer, self.layer.window
        limits = dac_limits(self.chip, layer.input_signed)
        codes = (x / (layer.input_scale or 1.0)).round_().clamp_(*limits)
        parts = table[codes.abs_().nan_to_num_(0.0).long()]
        if window is None:
            of_rows = parts.reshape(-1, parts.shape[-1]).sum(0)
        else:
            of_rows = unfold(parts.sum(0, keepdim=True).double(), window).sum(2)[0].long()
        signs = len(self._signs())
        lines = of_rows.reshape(layer.groups, layer.rows).repeat_interleave(signs, dim=1)
        padding = layer.row_blocks * layer.row_block - lines.shape[1]
        padded = torch.nn.functional.pad(lines, (0, padding))
        return padded.reshape(layer.groups * layer.row_blocks, layer.row_block).numpy()

    @property
    def phases(self) -> int:
        """Reads of an input vector with draws of their own: one, or one a sign of its codes."""
        return 2 if two_phases(self.chip, self.layer.input_signed) else 1

    def vectors(self, x: torch.Tensor) -> int:
        """Input vectors of one sample of ``x``."""
        return prod(x.shape[1:-1]) if self.layer.window is None else self.layout(x).positions

    def _outputs(self, layout: Layout, side: DigitalSide | None) -> Outputs:
        """The digital side as the kernel takes it; packed once."""
        key = (layout, side)
        if key not in self._sides:
            self._sides[key] = _packed_side(layout, side) if side is not None else _AS_THEY_ARE
        return self._sides[key]

    def _signs(self) -> tuple[int, ...]:
        """Sign of the input on each wordline of a row."""
        return (1, -1) if self.layer.layout == "rows" else (1,)

    def _drive(self, bank: FusedBank) -> Drive:
        chip, signed = self.chip, self.layer.input_signed
        low, high = dac_limits(chip, signed)
        weights = np.asarray(plane_weights(chip, signed), np.float32)
        bits = np.arange(len(weights)) if chip.dac.mode == "bit_serial" else np.asarray([-1])
        signs = np.asarray([1.0, -1.0][: self.phases], np.float32)
        return Drive(
            float(self.layer.input_scale or 1.0),
            low,
            high,
            bank.fixed.drives.bent,
            bank.fixed.squares.linear,
            bank.fixed.squares.shift,
            bank.fixed.squares.rest_shift,
            np.tile(bits, self.phases),
            (signs[:, None] * weights).reshape(-1),
        )

    def _samples(self, x: torch.Tensor) -> Array32:
        """The input as (samples, channels, height, width)."""
        if self.layer.window is not None:
            return (x if x.dim() == 4 else x.unsqueeze(2)).contiguous().numpy()
        vectors = x.reshape(-1, x.shape[-1])
        strips = -(-len(vectors) // _STRIP)
        padded = vectors.new_zeros(strips * _STRIP, vectors.shape[1])
        padded[: len(vectors)] = vectors
        turned = padded.reshape(strips, _STRIP, vectors.shape[1]).transpose(1, 2).unsqueeze(2)
        return turned.contiguous().numpy()


_AS_THEY_ARE = Outputs(
    np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32),
    np.zeros(0, np.float32), np.zeros((0, 1), np.float32), -np.inf,
)  # fmt: skip


def _packed_side(layout: Layout, side: DigitalSide) -> Outputs:
    """A digital side with its taps in fixed point, each with a quantum of its own."""
    fixed = [Fixed.nearest(tap[:, :, None], LARGEST_CODE) for tap in side.taps]
    whole = np.concatenate([tap.whole for tap in fixed], axis=2) if fixed else None
    return Outputs(
        side.gain,
        side.offset,
        np.zeros(0, np.int32) if whole is None else layout.packed_taps(whole),
        np.asarray([tap.quantum for tap in fixed], np.float32),
        side.taken if fixed else np.zeros((len(side.gain), 1), np.float32),
        side.least,
    )


def _quanta(fixed: FixedColumns | None) -> Array64:
    """(blocks, columns) what a whole number counts, or one of all; 0 without any."""
    return np.asarray(0.0 if fixed is None else fixed.quantum)
