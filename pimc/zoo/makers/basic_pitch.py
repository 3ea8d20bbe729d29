"""Basic Pitch (R. Bittner et al., arXiv 2203.09893): which notes sound."""

from __future__ import annotations

import numpy as np

from pimc.zoo.made import Array, Made, fixed, with_outputs
from pimc.zoo.wheels import Wheels

__all__ = ["notes"]

_PACKAGE, _MODEL = "basic-pitch", "basic_pitch/saved_models/icassp_2022/nmp.onnx"
_INPUT, _NOTES = "serving_default_input_2:0", "StatefulPartitionedCall:1"
_RATE, _LENGTH, _KEYS, _LOWEST = 22050, 43844, 88, 21
#: White noise, as a multiple of what the notes come to: so much that keys are missed.
_NOISE = 8.0
#: Notes that are played, as MIDI numbers them: three octaves around middle C.
_PLAYED = np.arange(48, 84)


def notes(wheels: Wheels) -> Made:
    """Chords of three to seven synthesised notes of two seconds; a label for each of 88 keys.

    The network tells how sure it is of each key in each of 172 frames; here their mean counts.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(wheels.read(_PACKAGE, _MODEL))
    model = fixed(model, {_INPUT: (_LENGTH, 1)})
    mean = helper.make_node("ReduceMean", [_NOTES], ["keys"], axes=[1], keepdims=0)
    keys = helper.make_tensor_value_info("keys", TensorProto.FLOAT, ["N", _KEYS])
    model = with_outputs(model, [keys], [mean])

    def samples(seed: int, count: int) -> dict[str, Array]:
        rng = np.random.default_rng(seed)
        x, y = np.empty((count, _LENGTH, 1), np.int16), np.zeros((count, _KEYS), np.uint8)
        for place in range(count):
            chord = rng.choice(_PLAYED, int(rng.integers(3, 8)), replace=False)
            x[place, :, 0] = np.round(_chord(rng, chord) * 32767)
            y[place, chord - _LOWEST] = 1
        return {"x": x, "y": y}

    return Made(model.SerializeToString(), samples(0, 64), samples(1, 150), "scale = 32767.0\n")


def _chord(rng: np.random.Generator, chord: Array) -> Array:
    """Notes of eight harmonics that fade, each with a beginning of its own, and noise."""
    time = np.arange(_LENGTH) / _RATE
    found = np.zeros(_LENGTH)
    for key in chord:
        since = time - rng.uniform(0, 0.3)
        pitch = 440 * 2 ** ((key - 69) / 12) * 2 ** (rng.normal(0, 5) / 1200)
        fade = np.exp(-np.maximum(since, 0) * rng.uniform(0.5, 2)) * (since > 0)
        for harmonic in range(1, 9):
            share = harmonic ** -rng.uniform(1.2, 2.0)
            phase = rng.uniform(0, 2 * np.pi)
            found += share * fade * np.sin(2 * np.pi * harmonic * pitch * since + phase)
    found += rng.normal(0, _NOISE * found.std(), _LENGTH)
    scaled: Array = 0.5 * found / max(np.abs(found).max(), 1e-9)
    return scaled
