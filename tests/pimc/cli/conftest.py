"""What tests of several commands share."""

from __future__ import annotations

import numpy as np
import onnx
import pytest


@pytest.fixture
def model(tiny_model, tiny_inputs, here):
    """A folder with tiny.onnx and calib.npz."""
    onnx.save(tiny_model(), "tiny.onnx")
    np.savez("calib.npz", x=tiny_inputs)
    return here
