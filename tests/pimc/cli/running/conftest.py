"""An image and labelled data in the current folder."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.runtime.session import Session


@pytest.fixture
def image(tiny_image, here):
    """The tiny image as ``tiny.pimc`` in the current folder."""
    tiny_image.save("tiny.pimc")
    return tiny_image


@pytest.fixture
def data(tiny_image, tiny_inputs, here):
    """Labelled data that perfect cells get right: ``data.npz``."""
    labels = Session(tiny_image).run(None, {"x": tiny_inputs})[0].argmax(axis=1)
    np.savez("data.npz", x=tiny_inputs, y=labels)


@pytest.fixture
def narrow(tiny_model, tiny_inputs, here):
    """An image whose ADC range is far too narrow, as ``narrow.pimc``."""
    fixed = {"adc.range": "fixed", "adc.full_scale_us": 10.0}
    chip = Chip.default().with_array(16, 8).with_(**fixed)
    image = compile_model(tiny_model(), chip, calib=tiny_inputs)
    image.save("narrow.pimc")
    return image


@pytest.fixture
def undefined(tiny_model, here):
    """An image whose network divides nothing by nothing at the end, as ``undefined.pimc``."""
    model = tiny_model()
    output = model.graph.output[0].name
    model.graph.node.append(helper.make_node("Sub", [output, output], ["nothing"]))
    model.graph.node.append(helper.make_node("Div", ["nothing", "nothing"], ["scores"]))
    model.graph.output[0].name = "scores"
    image = compile_model(model, Chip.default().with_array(16, 8))
    image.save("undefined.pimc")
    return image
