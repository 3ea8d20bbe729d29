"""Values that a program may put in the place of right ones: in JSON, TOML and CSV, in tensors."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import numpy as np

__all__ = ["DEEP", "array_changed", "changed", "text_of"]

#: Stands for a nesting that no writer of JSON makes; see :func:`text_of`.
DEEP = "\u0001deep\u0001"
_ODD: Sequence[Any] = (
    None, True, False, 0, 1, -1, 2, 7, 255, 999, 2**31 - 1, 2**31, 2**53 + 1, 2**63, 2**64, 10**30,
    -(2**31), -(2**63), 0.0, -0.0, 0.5, -1.5, 1e-320, 1e-30, 1e30, 1e308, -1e308, math.inf,
    -math.inf, math.nan, "", " ", "0", "x", "nan", "\0", "a\0b", "../../x", "/etc/passwd", "é" * 3,
    "\ud800", "w" * 3000, [], [[]], {}, {"a": 1}, [None], [1, 2, 3], DEEP,
)  # fmt: skip


def changed(rng: Random, value: Any) -> Any:
    """A copy of a JSON value with one to three of its parts changed."""
    holder = [copy.deepcopy(value)]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(holder))
        if places:
            rng.choice(_ACTS)(rng, *rng.choice(places))
    return holder[0] if holder else None


def _places(parent: Any) -> Iterator[tuple[Any, Any]]:
    """Every part of a value: what holds it, and its key there."""
    keys = range(len(parent)) if isinstance(parent, list) else list(parent)
    for key in keys:
        yield parent, key
        if isinstance(parent[key], list | dict):
            yield from _places(parent[key])


def _replace(rng: Random, parent: Any, key: Any) -> None:
    parent[key] = copy.deepcopy(rng.choice(_ODD))


def _nudge(rng: Random, parent: Any, key: Any) -> None:
    """Stay of the same kind."""
    value = parent[key]
    if isinstance(value, bool):
        parent[key] = not value
    elif isinstance(value, int):
        parent[key] = rng.choice(
            (value + 1, value - 1, -value, value * 2, value * 1000, float(value))
        )
    elif isinstance(value, float):
        parent[key] = rng.choice((-value, value * 1e-6, value * 1e6, value * 1e30, 0.0, value + 1))
    elif isinstance(value, str):
        parent[key] = rng.choice((value[:-1], value + "x", value.upper(), value * 2, value[::-1]))
    else:
        _replace(rng, parent, key)


def _drop(rng: Random, parent: Any, key: Any) -> None:
    del parent[key]


def _rename(rng: Random, parent: Any, key: Any) -> None:
    if isinstance(parent, dict):
        parent[rng.choice((f"{key}x", key[:-1], "", "\0"))] = parent.pop(key)
    else:
        parent.insert(key, copy.deepcopy(parent[key]))


def _swap(rng: Random, parent: Any, key: Any) -> None:
    other = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    parent[key], parent[other] = parent[other], parent[key]


def _wrap(rng: Random, parent: Any, key: Any) -> None:
    parent[key] = rng.choice(([parent[key]], {"a": parent[key]}, str(parent[key])))


_ACTS: Sequence[Callable[[Random, Any, Any], None]] = (
    _replace, _replace, _replace, _nudge, _nudge, _nudge, _drop, _rename, _swap, _wrap,
)  # fmt: skip


def text_of(json_text: str) -> str:
    """JSON with the nesting that :data:`DEEP` stands for."""
    mark = '"\\u0001deep\\u0001"'
    return json_text.replace(mark, "[" * 50_000 + "]" * 50_000)


def array_changed(rng: Random, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy of an array with other entries, of another type or of another shape."""
    return rng.choice(_ARRAY_ACTS)(rng, np.array(array))


def _entries(rng: Random, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if not array.size:
        return np.zeros((1,) * max(array.ndim, 1), array.dtype)
    flat = array.reshape(-1)
    if rng.random() < 0.3:
        places = slice(None)
    else:
        first = rng.randrange(array.size)
        places = slice(first, first + rng.choice((1, 1, 4, 64)))
    if array.dtype.kind == "f":
        edges: tuple[Any, ...] = (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-40, 1e6, 3e38, -3e38)
        value = rng.choice(edges)
    elif array.dtype.kind == "b":
        value = rng.random() < 0.5
    else:
        limits = np.iinfo(array.dtype)
        edges = (limits.min, limits.max, 0, 1, limits.max // 2, 3, 17)
        value = rng.choice((*edges, -1 if limits.min else 2))
    with np.errstate(all="ignore"):
        flat[places] = np.asarray(value).astype(array.dtype)
    return array


def _nearby(rng: Random, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """One entry a little more or less, or two exchanged."""
    if not array.size or array.dtype.kind == "b":
        return array
    flat = array.reshape(-1)
    one, other = rng.randrange(array.size), rng.randrange(array.size)
    if rng.random() < 0.3:
        flat[[one, other]] = flat[[other, one]]
    else:
        with np.errstate(all="ignore"):
            flat[one] += np.asarray(rng.choice((1, -1))).astype(array.dtype)
    return array


def _type(rng: Random, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    kinds = ("?", "u1", "i1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8")
    with np.errstate(all="ignore"):
        return array.astype(rng.choice(kinds))


def _shape(rng: Random, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.ndim == 0:
        return array.reshape(1)
    axis = rng.randrange(array.ndim)
    return rng.choice(
        (
            array.reshape(-1),
            array[None],
            array[..., None],
            np.swapaxes(array, axis, 0),
            np.delete(array, slice(0, 1), axis),
            np.repeat(array, 2, axis),
            np.take(array, [], axis),
            array.reshape(-1)[:1].reshape(()) if array.size else array,
        )
    )


_ARRAY_ACTS = (_entries, _entries, _entries, _nearby, _nearby, _type, _shape)
