"""``pimc.compensate``: a digital side that makes up for drift, learnt at time zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pimc.functions.given import AnyData, data_of, image_of
from pimc.image.image import Image
from pimc.progress import Progress, silent
from pimc.runtime.compensation import Compensated
from pimc.runtime.compensation import compensated as learn
from pimc.runtime.feeds import tensors
from pimc.runtime.sequences import unrolled

__all__ = ["SAMPLES", "compensate"]

#: Calibration samples that rows are looked at with: their means need no more.
SAMPLES = 256


def compensate(
    image: Image | str | Path,
    calib: AnyData | None = None,
    *,
    from_s: float = 0.0,
    progress: Progress = silent,
) -> Compensated:
    """The image with gains, pedestals and offsets by age, from the chip's statistics alone.

    No die is read: what cells of each level hold on average at an age says what every column
    gives. An image that has a compensation gets a new one.

    Args:
        image: compiled or recovered, or its file.
        calib: calibration inputs, which say how rows are driven; labels are not used. None: all
            rows count alike, and there are no offsets.
        from_s: how old the cells were when the image's gains and offsets were fitted; 0: compiled,
            or recovered on a fresh die.
        progress: told of the layers.

    Returns:
        The image and, for every age, what drift costs with and without it. No costs, and an
        image without compensation, where the chip's cells do not change with time.

    Raises:
        ImageError: the image cannot be read.
        DataError: the data cannot be read or do not fit.
        UsageError: ``from_s`` is no age.
    """
    loaded = image_of(image)
    if calib is None:
        return learn(loaded, from_s=from_s, progress=progress)
    data = unrolled(data_of(calib, loaded), loaded, progress)
    chosen = np.unique(np.linspace(0, len(data) - 1, SAMPLES).astype(np.int64))
    feed = tensors(data.subset(chosen).all_inputs())
    return learn(loaded, feed, from_s=from_s, progress=progress)
