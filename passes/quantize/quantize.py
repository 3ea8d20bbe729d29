"""Quantize: every layer's weights to codes, its inputs and its ADC to ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import Codebook, codebooks
from pimc.chip.converters import dac_limits
from pimc.chip.design import Chip
from pimc.passes.calibrate.vectors import sample
from pimc.passes.quantize import rounding
from pimc.passes.quantize.adc_choice import chips_of
from pimc.passes.quantize.coarse import (
    NearestCodes,
    coarse_grid,
    coarse_range,
    weight_error,
)
from pimc.passes.quantize.faulty import FaultyLayer, settled
from pimc.passes.quantize.left import LEFT_ALONE, left_by_recovery
from pimc.passes.quantize.outputs import (
    Moments,
    apply,
    as_vectors,
    by_column,
    column_moments,
    gain_for,
    on_codes,
    scaled,
)
from pimc.passes.quantize.ranges import AdcRange, adc_range, input_scale
from pimc.plan.held import HeldWeights
from pimc.plan.records import (
    CodeMatrix,
    Layer,
    Plan,
    Quantized,
    repeated_layers,
)

if TYPE_CHECKING:
    import onnx_ir as ir

Array64 = npt.NDArray[np.float64]

#: Input vectors that a layer's statistics are made from: so many a row, within limits.
_VECTORS_A_ROW, _VECTORS = 8, (1024, 2048)
#: Seed of everything drawn while compiling; fixed, so that equal inputs give equal bytes.
_SEED = 20221117


class Calibration(Protocol):
    """Runs a network on calibration data in float64."""

    def __call__(
        self,
        graph: ir.Model,
        on_array: Callable[[str, Array64], Array64],
        *,
        most: int | None = None,
    ) -> None:
        """Run ``graph`` on the data at once.

        Args:
            most: look at so many samples only, evenly spread; all where the network takes a fixed
                number of them.
            on_array: called with a layer's name and its input for every array layer, in the order
                of the graph; what it gives is taken as the layer's output.
        """
        ...


@dataclass(frozen=True)
class Quantize:
    """Choose scale, zero and codes of every column, input ranges and ADC ranges.

    With calibration data the layers are quantized in the order in which they run, each on the
    inputs it gets from the layers already quantized; without, inputs are scaled dynamically.

    Attributes:
        calibration: how to run the network on calibration data; None without data.
        feedback: round with error feedback (needs calibration data).
        write_noise: how much of the programming errors' variance the clipping reckons with; what
            recovery will leave of it if None.
        faulty: by name, layers whose stuck cells are known, and where their weights lie.
        adc_range: by globs of layers, how their ADC's range is chosen where not as the chip says.
    """

    name: ClassVar[str] = "quantize"
    calibration: Calibration | None = field(default=None, repr=False)
    feedback: bool = True
    write_noise: float | None = 1.0
    faulty: Mapping[str, FaultyLayer] = field(default_factory=dict, repr=False)
    adc_range: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """Fill ``plan.quantized``.

        Raises:
            UsageError, ChipError: as of :func:`~pimc.passes.quantize.adc_choice.chips_of`.
        """
        names = [layer.name for layer in plan.layers]
        chips = chips_of(plan, self.adc_range, chip)
        books = codebooks(chip, (layer.mapping for layer in plan.layers))
        book_of = dict(zip(names, books, strict=True))
        if self.calibration is None:
            quantized = [self._without_data(e, chips[e.name], book_of[e.name]) for e in plan.layers]
        else:
            quantized = self._with_data(plan, chips, book_of, self.calibration)
        return replace(plan, stage=self.name, quantized=tuple(quantized))

    def _without_data(self, layer: Layer, chip: Chip, book: Codebook) -> Quantized:
        share = LEFT_ALONE if self.write_noise is None else self.write_noise
        grid = coarse_grid(layer.weight, book, share)
        codes = NearestCodes(layer.weight, grid, book)
        scale, signed = _stated(layer, chip) or (None, not layer.nonnegative_input)
        low, high = dac_limits(chip, signed)
        if scale is not None and layer.input_steps is not None:
            low, high = max(low, layer.input_steps.low), min(high, layer.input_steps.high)
        adc = coarse_range(layer, grid, chip, book, (low, high), _rng)
        importance = np.ones((layer.groups, layer.rows))
        error = weight_error(layer.weight, grid, codes, book)
        return _quantized(layer, grid, codes, layer.bias, importance, scale, signed, adc, error)

    def _with_data(
        self,
        plan: Plan,
        chips: Mapping[str, Chip],
        books: Mapping[str, Codebook],
        run: Calibration,
    ) -> list[Quantized]:
        layers = {layer.name: layer for layer in plan.layers}
        repeated = repeated_layers(plan.graph)
        pools: dict[str, list[Array64]] = {}
        wanted: dict[str, Moments] = {}
        done: dict[str, Quantized] = {}

        def in_float(name: str, x: Array64) -> Array64:
            layer = layers[name]
            y = apply(layer, x, layer.weight.numpy().astype(np.float64), layer.bias)
            if not x.size:
                return y
            if name in repeated:
                pools.setdefault(name, []).append(_sampled(layer, x))
            else:
                wanted[name] = column_moments(layer, y)
            return y

        def on_chip(name: str, x: Array64) -> Array64:
            layer = layers[name]
            if not x.size:  # of no rows, for these data
                return apply(layer, x, layer.weight.numpy().astype(np.float64), layer.bias)
            if name not in done and name not in (pools if name in repeated else wanted):
                in_float(name, x)  # rows that it did not get in the float network
            if name not in repeated:
                done[name], y = self._one_layer(layer, x, wanted[name], chips[name], books[name])
                return y
            if name not in done:
                # Of several uses the first comes before the last: those of the float network
                # stand for all, as vectors.
                single, pool = as_vectors(layer), np.concatenate(pools.pop(name)).T[None]
                exact = apply(single, pool, layer.weight.numpy().astype(np.float64), layer.bias)
                moments = column_moments(single, exact)
                done[name], _ = self._one_layer(single, pool, moments, chips[name], books[name])
            held = self.faulty[name].held if name in self.faulty else None
            return _through(layer, x, done[name], chips[name], books[name], held)

        run(plan.graph, in_float)
        run(plan.graph, on_chip)
        # A body of control flow need not have run, and a layer may have got no rows.
        return [done.get(n) or self._without_data(layers[n], chips[n], books[n]) for n in layers]

    def _rounded(
        self, weight: Array64, moments: Array64, book: Codebook
    ) -> tuple[rounding.Grid, rounding.Codes]:
        importance = np.einsum("gkk->gk", rounding.damped(moments))
        share = left_by_recovery(moments) if self.write_noise is None else self.write_noise
        grid = rounding.choose_grid(weight, importance, book, share)
        if self.feedback:
            codes = rounding.round_with_feedback(weight, moments, grid, book)
        else:
            codes = rounding.round_nearest(weight, grid, book)
        return rounding.refit_scale(weight, moments, grid, codes, book), codes

    def _one_layer(
        self, layer: Layer, x: Array64, wanted: Moments, chip: Chip, book: Codebook
    ) -> tuple[Quantized, Array64]:
        vectors = _sampled(layer, x)
        scale, signed = _stated(layer, chip) or (None, _signed(layer, vectors, x))
        low, high = dac_limits(chip, signed)
        scale = scale or input_scale(vectors, low, high)
        codes_in = np.clip(np.rint(vectors / scale), low, high)
        grouped = codes_in.reshape(-1, layer.groups, layer.rows).transpose(1, 0, 2)

        weight = layer.weight.numpy().astype(np.float64)
        moments = second_moments(grouped)
        held, sign = None, np.ones((layer.groups, layer.cols))
        if layer.name in self.faulty:
            held, sign = self.faulty[layer.name].held, self.faulty[layer.name].sign
            grid, codes = settled(weight * sign[:, None, :], moments, self.faulty[layer.name], book)
        else:
            grid, codes = self._rounded(weight, moments, book)

        inputs = _in_codes(x, scale, low, high)
        y = on_codes(layer, inputs, grid, codes, book, held)
        y = scaled(layer, y, (grid.scale * sign).reshape(-1) * scale, layer.bias)
        # Rounding, here and before, narrows a column's outputs and moves their mean, and from layer
        # to layer this grows: scale and bias take both back.
        found = column_moments(layer, y)
        gain = gain_for(wanted, found)
        offset = wanted.mean - gain * found.mean
        y *= by_column(layer, y, gain)
        y += by_column(layer, y, offset)
        grid = rounding.Grid(grid.scale * gain.reshape(grid.scale.shape), grid.zero)
        bias = (gain * layer.bias + offset).astype(np.float32)
        cells = None if held is None else held.held_us
        adc = adc_range(chip, book, codes, grid, grouped, signed, _rng(layer), cells)
        power = np.square(grouped).mean(axis=1)
        error = weight_error(layer.weight, rounding.Grid(grid.scale * sign, grid.zero), codes, book)
        done = _quantized(layer, grid, codes, bias, power, scale, signed, adc, error)
        return replace(done, gain=sign.reshape(-1).astype(np.float32)), y


def _quantized(
    layer: Layer,
    grid: rounding.Grid,
    codes: CodeMatrix,
    bias: npt.NDArray[np.float32],
    importance: Array64,
    scale: float | None,
    signed: bool,
    adc: AdcRange,
    error: float,
) -> Quantized:
    return Quantized(
        codes=codes,
        zero=grid.zero.reshape(-1),
        scale=grid.scale.reshape(-1).astype(np.float32),
        gain=np.ones(grid.scale.size, np.float32),
        bias=bias.astype(np.float32),
        importance=importance.astype(np.float32),
        input_scale=scale,
        input_signed=signed,
        adc_lsb_us=adc.lsb_us,
        adc_column_lsb_us=adc.column_lsb_us,
        weight_error=error,
    )


def _sampled(layer: Layer, x: Array64) -> Array64:
    """Some input vectors of ``x``, (vectors, groups · rows)."""
    count = int(np.clip(_VECTORS_A_ROW * layer.rows, *_VECTORS))
    return sample(x, layer.window, count, _SEED)


def _in_codes(x: Array64, scale: float, low: int, high: int) -> Array64:
    """Inputs as DAC codes."""
    codes: Array64 = x / scale
    np.rint(codes, out=codes)
    return np.clip(codes, low, high, out=codes)


def _through(
    layer: Layer,
    x: Array64,
    quantized: Quantized,
    chip: Chip,
    book: Codebook,
    held: HeldWeights | None,
) -> Array64:
    """What a quantized layer gives."""
    scale = quantized.input_scale or 1.0
    inputs = _in_codes(x, scale, *dac_limits(chip, quantized.input_signed))
    shape = (layer.groups, layer.cols)
    grid = rounding.Grid(
        quantized.scale.reshape(shape).astype(np.float64), quantized.zero.reshape(shape)
    )
    y = on_codes(layer, inputs, grid, quantized.codes[:, :, :], book, held)
    return scaled(layer, y, grid.scale.reshape(-1) * quantized.gain * scale, quantized.bias)


def _signed(layer: Layer, vectors: Array64, x: Array64) -> bool:
    """Whether inputs below zero occur or may."""
    if layer.nonnegative_input or bool((x >= 0).all()):
        return bool(vectors.min(initial=0.0) < 0)
    return True


def _stated(layer: Layer, chip: Chip) -> tuple[float, bool] | None:
    """The input scale that the network states, and whether it is signed, if the DAC has the codes.

    The code below the least symmetric one, which eight bits have beyond -127, may be clipped.
    """
    steps = layer.input_steps
    if steps is None or steps.unit <= 0:
        return None
    signed = steps.low < 0
    low, high = dac_limits(chip, signed)
    return (steps.unit, signed) if low - 1 <= steps.low and steps.high <= high else None


def _rng(layer: Layer) -> np.random.Generator:
    return np.random.default_rng([_SEED, layer.rows, layer.cols])


def second_moments(vectors: Array64) -> Array64:
    """(groups, vectors, rows) → (groups, rows, rows), about the mean: the bias takes that."""
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    count, rows = vectors.shape[1:]
    moments: Array64 = np.swapaxes(centred, 1, 2) @ centred / count
    # Few vectors say little about how rows go together: shrink toward independent rows.
    own = np.einsum("gkk->gk", moments).copy()
    moments *= count / (count + rows)
    np.einsum("gkk->gk", moments)[:] = own
    return moments
