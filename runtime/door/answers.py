"""What a driver may answer: each function returns an answer as pimc uses it, or refuses it.

An answer that is as it should be comes back as it is, without a copy.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import numpy.typing as npt

from pimc.image.image import ImageLayer
from pimc.plan.vectors import output_size
from pimc.runtime.die.region import Region
from pimc.runtime.door.device import Saturation
from pimc.runtime.door.foreign import AnswerError

if TYPE_CHECKING:
    import torch

__all__ = [
    "age",
    "codes",
    "count",
    "name",
    "outputs",
    "saturation",
    "state",
    "times",
    "took",
    "written",
    "yes_or_no",
]

#: Types of numbers that hold every code.
_NUMBERS = {
    f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
} | {"float32", "float64"}  # fmt: skip
#: Kinds of arrays, and bytes a value, that a file can hold.
_STORABLE_KINDS, _STORABLE_BYTES = "biuf", 8


def name(found: object, before: object) -> str:
    """Which specimen it is: a text, the same every time.

    Args:
        before: what was answered before.

    Raises:
        AnswerError: it is none, or another one.
    """
    if not isinstance(found, str) or not found:
        raise AnswerError(f"gave {_described(found)} instead of a text")
    if found != before:
        raise AnswerError(f"gave {found!r}, and {before!r} before")
    return found


def yes_or_no(found: object) -> bool:
    """True or False.

    Raises:
        AnswerError: it is neither.
    """
    if not isinstance(found, bool | np.bool_):
        raise AnswerError(f"gave {_described(found)} instead of True or False")
    return bool(found)


def count(found: object) -> int:
    """A whole number that is not negative.

    Raises:
        AnswerError: it is none.
    """
    if not isinstance(found, Integral) or isinstance(found, bool) or found < 0:
        raise AnswerError(f"gave {_described(found)} instead of a count")
    return int(found)


def age(found: object) -> float:
    """Seconds, 0 or more.

    Raises:
        AnswerError: they are none.
    """
    seconds = float(found) if isinstance(found, Real) and not isinstance(found, bool) else math.nan
    if not 0 <= seconds < math.inf:
        raise AnswerError(f"gave {_described(found)} instead of seconds")
    return seconds


def took(found: object, cells: int) -> npt.NDArray[np.bool_]:
    """(cells,) whether each write went through.

    Raises:
        AnswerError: it is no such array.
    """
    if not isinstance(found, np.ndarray) or found.dtype != np.bool_ or found.shape != (cells,):
        raise AnswerError(f"gave {_described(found)} instead of an array bool [{cells}]")
    return found


def written(found: object, cells: int, levels: int) -> npt.NDArray[np.int64]:
    """(cells,) the level each cell was last asked to hold, −1 for none.

    Args:
        levels: how many the chip has.

    Raises:
        AnswerError: it is no such array, or there is no such level.
    """
    values = _integers(found, (cells,))
    if values.size and not (values.min() >= -1 and values.max() < levels):
        raise AnswerError(
            f"gave levels from {values.min()} to {values.max()}, and there are 0 to {levels - 1}, "
            "-1 for none"
        )
    return values.astype(np.int64, copy=False)


def times(found: object, cells: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Counts, one a cell.

    Args:
        cells: shape of the addresses.

    Raises:
        AnswerError: they are no such array, or negative.
    """
    values = _integers(found, cells)
    if values.size and values.min() < 0:
        raise AnswerError(f"gave counts down to {values.min()}")
    return values.astype(np.int64, copy=False)


def codes(
    found: object, region: Region, inputs: torch.Tensor, limits: tuple[int, int] | None
) -> torch.Tensor:
    """(batch, blocks, columns, positions) ADC codes; float32, where the inputs lie.

    Args:
        limits: smallest and largest code; None where converters are left out, so that codes
            have no range and are not whole.

    Raises:
        AnswerError: they are not of this shape, not finite, not whole or beyond the limits.
    """
    shape = (*inputs.shape[:2], region.columns, inputs.shape[3])
    values = _numbers(found, shape)
    low, high = _range(values, f"codes of {region.name}")
    if limits is not None and not limits[0] <= low <= high <= limits[1]:
        raise AnswerError(
            f"gave codes of {region.name} from {low:g} to {high:g}, and the converter's are "
            f"{limits[0]} to {limits[1]}"
        )
    if limits is not None and not bool((values == values.round()).all()):
        raise AnswerError(f"gave codes of {region.name} that are no whole numbers")
    return values.to(inputs.device).float()


def outputs(found: object, layer: ImageLayer, x: torch.Tensor) -> torch.Tensor:
    """(samples, groups · bitlines, positions) of a whole layer; float32, where ``x`` lies.

    Raises:
        AnswerError: they are not of this shape, or not finite.
    """
    samples = x.shape[0] if x.ndim > 1 else 1
    places = tuple(x.shape[1:-1])
    if layer.window is not None:
        places = output_size(tuple(x.shape[2:]), layer.window)
    shape = (samples, layer.groups * layer.bitlines, math.prod(places))
    values = _numbers(found, shape)
    _range(values, f"outputs of {layer.name}")
    return values.to(x.device).float()


def saturation(found: object) -> dict[str, Saturation]:
    """What the converters of each layer met.

    Raises:
        AnswerError: it is no table of counts, or more conversions clipped than there were.
    """
    if not isinstance(found, Mapping):
        raise AnswerError(f"gave {_described(found)} instead of a table of layers")
    for layer, met in found.items():
        if not isinstance(layer, str) or not isinstance(met, Saturation):
            raise AnswerError(f"gave {_described(met)} for {layer!r} instead of a Saturation")
        if count(met.clipped) > count(met.conversions):
            raise AnswerError(
                f"gave {met.clipped} clipped of {met.conversions} conversions for {layer}"
            )
    return dict(found)


def state(found: object) -> dict[str, npt.NDArray[Any]]:
    """Arrays by name, of types that a file can hold.

    Raises:
        AnswerError: it is no such table.
    """
    if not isinstance(found, Mapping):
        raise AnswerError(f"gave {_described(found)} instead of a table of arrays")
    for key, value in found.items():
        if not isinstance(key, str) or not _storable(value):
            raise AnswerError(f"gave {_described(value)} for {key!r} instead of an array")
    return dict(found)


def _integers(found: object, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iu" or found.shape != shape:
        wanted = f"an array of integers {list(shape)}"
        raise AnswerError(f"gave {_described(found)} instead of {wanted}")
    return found


def _storable(value: object) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype.kind in _STORABLE_KINDS
        and value.dtype.itemsize <= _STORABLE_BYTES
    )


def _numbers(found: object, shape: tuple[int, ...]) -> torch.Tensor:
    """A dense tensor of this shape, float32 or float64; arrays and integers are converted."""
    import torch

    wanted = f"float32 {list(shape)}"
    if isinstance(found, torch.Tensor):
        kind, dense = str(found.dtype).removeprefix("torch."), found.layout is torch.strided
    elif isinstance(found, np.ndarray):
        kind, dense = found.dtype.name, True
    else:
        raise AnswerError(f"gave {_described(found)} instead of a tensor {wanted}")
    if kind not in _NUMBERS or not dense or tuple(found.shape) != shape:
        raise AnswerError(f"gave {_described(found)} instead of {wanted}")
    if isinstance(found, np.ndarray):
        return torch.from_numpy(np.array(found, np.float32 if kind == "float32" else np.float64))
    if not found.is_floating_point():
        return found.to(torch.float64)  # which holds every code
    return found.detach() if found.requires_grad else found


def _range(values: torch.Tensor, what: str) -> tuple[float, float]:
    """The smallest and the largest value; 0, 0 where there is none."""
    if not values.numel():
        return 0.0, 0.0
    low, high = (float(end) for end in values.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):  # one NaN makes both ends NaN
        raise AnswerError(f"gave {what} that are not finite")
    return low, high


def _described(found: object) -> str:
    """What something is, in a few words."""
    if isinstance(found, np.ndarray):
        return f"{found.dtype.name} {list(found.shape)}"
    if _is_tensor(found):
        layout = f"{found.layout} ".removeprefix("torch.strided ")
        return f"{layout}{found.dtype} {list(found.shape)}".replace("torch.", "")
    if found is None or isinstance(found, bool | int | float):
        return str(found)
    return f"a value of type {type(found).__name__}"


def _is_tensor(found: object) -> TypeGuard[torch.Tensor]:
    """Whether it is a tensor; nothing is one where torch is not even loaded."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(found, torch.Tensor)
