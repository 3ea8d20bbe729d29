"""An image and labelled data in the current folder."""

from __future__ import annotations

import numpy as np
import pytest

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
