"""The peers, each with the chip of ``settings.py`` as nearly as it can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from adapter import Array32, Run, SkippedError, of_module
from settings import ADC_BITS, COLS, DAC_BITS, LEVELS, READ_NOISE, ROWS, SEED, WRITE_ERROR


def aihwkit(folder: Path, x: Array32, threads: int) -> Run:
    """Torch tiles, inputs brought to full scale vector by vector, ADC of aihwkit's own range.

    Its torch tile draws noise an output, not a cell: ``READ_NOISE`` of a full-scale cell's.
    """
    try:
        from aihwkit.nn.conversion import convert_to_analog
        from aihwkit.simulator.configs import TorchInferenceRPUConfig
        from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType
    except ImportError as error:
        raise SkippedError(f"aihwkit: {error}") from error

    config = TorchInferenceRPUConfig()
    config.mapping.max_input_size, config.mapping.max_output_size = ROWS, COLS
    config.forward.inp_res = 1 / (2**DAC_BITS - 2)
    config.forward.out_res = 1 / (2**ADC_BITS - 2)
    config.forward.out_noise = READ_NOISE
    config.forward.noise_management = NoiseManagementType.ABS_MAX
    config.forward.bound_management = BoundManagementType.NONE
    return of_module(convert_to_analog(_imprecise(folder), config).eval())


def lightning(folder: Path, x: Array32, threads: int) -> Run:
    """Static input ranges, set from the first batch; ``train()``, since only so does it add noise.

    Its noise is one an output, in units of the largest weight and input.
    """
    try:
        from aihwkit_lightning.nn.conversion import convert_to_analog
        from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig
    except ImportError as error:
        raise SkippedError(f"aihwkit-lightning: {error}") from error

    config = TorchInferenceRPUConfig()
    config.mapping.max_input_size = ROWS
    config.forward.inp_res = 2**DAC_BITS - 2
    config.forward.out_res = 2**ADC_BITS - 2
    config.forward.out_bound = 12.0
    config.forward.out_noise = READ_NOISE
    ranges = config.pre_post.input_range
    ranges.enable, ranges.init_from_data, ranges.init_std_alpha = True, 1, 6.0
    run = of_module(convert_to_analog(_imprecise(folder), config).train())
    run(x)
    return run


def crosssim(folder: Path, x: Array32, threads: int) -> Run:
    """Pairs of cells, ranges of DAC and ADC from what the float network's layers see and give."""
    try:
        from simulator import CrossSimParameters
        from simulator.algorithms.dnn.torch.convert import from_torch
    except ImportError as error:
        raise SkippedError(f"CrossSim: {error}") from error

    net = _imprecise(folder)
    parameters = []
    for largest_input, largest_output, largest_weight in _layer_ranges(net, x):
        p = CrossSimParameters()
        p.core.style, p.core.rows_max, p.core.cols_max = "BALANCED", ROWS, COLS
        p.core.balanced.style, p.core.balanced.subtract_current_in_xbar = "ONE_SIDED", True
        p.core.mapping.inputs.mvm.min = -largest_input
        p.core.mapping.inputs.mvm.max = largest_input
        noise = p.xbar.device.read_noise
        noise.enable, noise.model = True, "NormalProportionalDevice"
        noise.magnitude = READ_NOISE
        dac, adc = p.xbar.dac.mvm, p.xbar.adc.mvm
        dac.model, dac.bits, dac.signed = "SignMagnitudeDAC", DAC_BITS, True
        adc.model, adc.bits, adc.signed = "SignMagnitudeADC", ADC_BITS, True
        full = largest_output / (largest_input * largest_weight)
        adc.adc_range_option, adc.calibrated_range = "CALIBRATED", np.array([-full, full])
        p.validate()
        parameters.append(p)
    return of_module(from_torch(net, parameters, fuse_batchnorm=False, bias_rows=0).eval())


def _imprecise(folder: Path) -> Any:
    """The float network with the errors of one die in its weights."""
    from graph_net import GraphNet, written

    return written(GraphNet(folder / "folded.onnx"), LEVELS, WRITE_ERROR, SEED).eval()


def _layer_ranges(net: Any, x: Array32) -> list[tuple[float, float, float]]:
    """Largest |input|, |output| and |weight| of every layer, in the order in which they run."""
    found: list[tuple[float, float, float]] = []

    def note(layer: Any, inputs: Any, output: Any) -> None:
        values = (inputs[0], output, layer.weight.detach())
        found.append(tuple(float(v.abs().max()) for v in values))  # type: ignore[arg-type]

    hooks = [layer.register_forward_hook(note) for layer in net.layers]
    of_module(net)(x)
    for hook in hooks:
        hook.remove()
    return found
