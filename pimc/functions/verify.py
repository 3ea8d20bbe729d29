"""``pimc.verify``: the runtime on perfect cells against the golden network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.data.dataset import Dataset
from pimc.functions.given import AnyData, data_of, image_of
from pimc.image.image import Image
from pimc.runtime.sequences import unrolled
from pimc.studies.golden.verify import Verification, verify_drawn
from pimc.studies.golden.verify import verify as compare

__all__ = ["SAMPLES", "some_inputs", "verify"]

#: Inputs that are compared where nobody says otherwise.
SAMPLES = 4


def some_inputs(data: Dataset, image: Image, samples: int) -> dict[str, npt.NDArray[Any]]:
    """The first samples as the network gets them; of sequences as many of their steps, spread out.

    Raises:
        DataError: they do not fit the network.
        ImageError: states are needed, and the image was written without its float weights.
    """
    if not data.is_sequential:
        return data.feed(0, samples)
    steps = unrolled(data.subset(np.arange(min(samples, len(data)))), image)
    return steps.subset(np.linspace(0, len(steps) - 1, samples).astype(int)).all_inputs()


def verify(
    image: Image | str | Path,
    inputs: AnyData | None = None,
    *,
    model: str | Path | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    follow_links: bool = False,
) -> Verification:
    """Hold an image on perfect cells against its golden network, layer by layer.

    Args:
        image: an image or its file.
        inputs: arrays by the names of the inputs, or the first of data; random ones are drawn if
            None.
        model: the source model; the image's float weights are compared with it, too.
        samples: how many inputs are drawn, or taken of data.
        seed: of those.
        follow_links: take external data of ``model`` behind symbolic links, wherever they lead.

    Raises:
        ImageError: the image cannot be read; ``model`` was given, but it holds no float weights.
        ModelError: ONNX Runtime cannot run one of the networks on these inputs.
        DataError: data that cannot be read, or do not fit the network.
    """
    loaded, source = image_of(image), None if model is None else Path(model)
    if inputs is None:
        return verify_drawn(loaded, samples, seed, model=source, follow_links=follow_links)
    if not isinstance(inputs, Mapping):
        inputs = some_inputs(data_of(inputs, loaded, "test"), loaded, samples)
    return compare(loaded, inputs, model=source, follow_links=follow_links)
