"""What the functions are given: images, data and chips, in memory or as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from pimc.data.dataset import Dataset, Role, load_data
from pimc.data.stateful.states import States
from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.door.device import Device
from pimc.runtime.door.drivers import opened, require_programmed
from pimc.runtime.physics.ir_drop import Method

if TYPE_CHECKING:
    from pimc.runtime.session import Session

__all__ = [
    "AnyData",
    "AnyDie",
    "chip_of",
    "data_of",
    "dataset_of",
    "file_of",
    "image_of",
    "session_of",
]

#: A simulated specimen, a chip that is open, its file or address; None: drawn from a seed.
AnyDie = Die | Device | str | Path | None
#: A dataset, what is read from a file or folder, or arrays of inputs alone, several by name.
AnyData = Dataset | str | Path | npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]


def image_of(given: Image | Session | str | Path) -> Image:
    """The image, read from its file where a path is given.

    Raises:
        ImageError: the file is no image.
    """
    if isinstance(given, str | Path):
        return Image.load(given)
    return given if isinstance(given, Image) else given.image


def data_of(given: AnyData, image: Image, role: Role = "calib") -> Dataset:
    """The data for an image's network.

    Raises:
        DataError: they cannot be read, or do not fit the network.
    """
    from pimc.runtime.session import inputs_of  # and torch with it, which programming needs not

    inputs = inputs_of(image)
    if isinstance(given, str | Path):
        return load_data(given, inputs=inputs, role=role, states=image.states)
    data = given if isinstance(given, Dataset) else Dataset.of(given)
    if data.states is None and image.states:
        data = replace(data, states=States(image.states))
    return data.on(inputs)


def dataset_of(given: AnyData, inputs: Sequence[Any], role: Role = "calib") -> Dataset:
    """The data for a network with these inputs, which a study brings into its types.

    Raises:
        DataError: they cannot be read.
    """
    if isinstance(given, str | Path):
        return load_data(given, inputs=inputs, role=role)
    return given if isinstance(given, Dataset) else Dataset.of(given)


def file_of(chip: AnyDie) -> Path | None:
    """Where a chip's state is kept, or what its driver makes of it; None in memory."""
    return Path(chip) if isinstance(chip, str | Path) else None


def chip_of(
    image: Image,
    chip: AnyDie,
    *,
    driver: str = "sim",
    seed: int = 0,
    ir_drop: Method | None = None,
) -> Device | Die:
    """The chip, which holds the image; one in memory or drawn only now is written first.

    Raises:
        UsageError: it does not hold the image, or there is no such die file.
        DeviceError: it cannot be opened.
    """
    if isinstance(chip, Die):
        return chip
    if chip is None or isinstance(chip, str | Path):
        chip = opened(image, driver, file_of(chip), seed, ir_drop)
    require_programmed(image, chip)
    return chip


def session_of(
    given: Image | Session | str | Path,
    chip: AnyDie,
    *,
    driver: str = "sim",
    seed: int = 0,
    ir_drop: Method | None = None,
) -> Session:
    """The session, or one of an image on the chip of :func:`chip_of`.

    Raises:
        UsageError: a session and a chip, which it has.
    """
    from pimc.runtime.session import Session

    if isinstance(given, Session):
        if chip is not None:
            raise UsageError(
                "a session has its die", where=given.device.name, hint="give one or the other"
            )
        return given
    image = image_of(given)
    found = chip_of(image, chip, driver=driver, seed=seed, ir_drop=ir_drop)
    return Session(image, die=found, seed=seed)
