"""Files with changed content and right hashes, as a tool of somebody else might write them.

A change takes the keys of the manifest (without those that the container adds) and the tensors,
and alters them in place. :func:`changes_of` draws one of a file: a tensor or key, and what becomes
of it. The tests of every format use both.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from pimc.errors import PimcError
from pimc.files import container

__all__ = ["Change", "Content", "changes_of", "content_of", "names", "reseal", "sealed"]

Tensors = dict[str, np.ndarray[Any, Any]]

#: What may stand in place of the value of a key; none of it takes memory by its size.
_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 3, 255, 2**31 - 1, 2**31, 2**63, 10**40, -0.5, 0.5, 1e-300, 1e300,
    "", "x", "0", [], [1], [-1, 0], [0, 0], ["x"], [None], [[1]], {}, {"x": 1}, [{}], "\ud800",
)  # fmt: skip
_NUMBERS: tuple[Any, ...] = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-45, 1e30, -3e38, 3e38)
_WHOLE: tuple[Any, ...] = (-1, 0, 1, 2, 7, 255, 999, 2**15, 2**31 - 1, -(2**31), 2**62)
_TYPES = ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64", "float32", "float64")


@dataclass
class Content:
    """What a file holds.

    Attributes:
        keys: of the manifest, without what the container adds.
    """

    fmt: str
    version: int
    keys: dict[str, Any]
    tensors: Tensors


@dataclass(frozen=True)
class Change:
    """One change of a file.

    Attributes:
        what: the tensor, or the path of the key.
        how: in words, for a test that fails.
    """

    what: tuple[str | int, ...]
    how: str
    apply: Callable[[Content], None]

    def __repr__(self) -> str:
        return f"{'.'.join(map(str, self.what))}: {self.how}"


def content_of(path: Path, fmt: str, version: int) -> Content:
    """What a sound file holds; it may be changed."""
    manifest, tensors = container.load(path, fmt, version, PimcError)
    keys = {key: value for key, value in manifest.items() if key not in ("sha256", "tensors")}
    found = manifest["version"]
    return Content(fmt, found, keys, {name: np.array(value) for name, value in tensors.items()})


def sealed(content: Content, path: Path) -> Path:
    """The file of a content, with right hashes."""
    tensors = {name: value for name, value in content.tensors.items() if value is not None}
    container.save(path, *container.seal(content.fmt, content.version, content.keys, tensors))
    return path


def reseal(content: Content, path: Path, change: Callable[[Content], None]) -> Path:
    """The file of a content after a change; the content stays as it is."""
    other = copy.deepcopy(content)
    change(other)
    return sealed(other, path)


def changes_of(content: Content, *, skip: tuple[str, ...] = ()) -> st.SearchStrategy[Change]:
    """A change of one tensor or one key.

    Args:
        skip: names of tensors and keys that stay as they are, with all below them.
    """
    tensors = [name for name in sorted(content.tensors) if name not in skip]
    paths = [path for path in _paths(content.keys) if not set(path) & {"format", "version", *skip}]
    of_tensors = st.sampled_from(tensors).flatmap(lambda name: _of_tensor(content, name))
    of_keys = st.sampled_from(paths).flatmap(_of_key)
    return st.one_of(of_tensors, of_keys)


def _paths(value: Any, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Paths to all that JSON objects and lists hold."""
    inside: Any = ()
    if isinstance(value, dict):
        inside = sorted(value.items())
    elif isinstance(value, list):
        inside = enumerate(value)
    for key, below in inside:
        yield (*before, key)
        yield from _paths(below, (*before, key))


def _of_key(path: tuple[str | int, ...]) -> st.SearchStrategy[Change]:
    def put(value: Any) -> Change:
        def apply(content: Content) -> None:
            _around(content, path)[path[-1]] = copy.deepcopy(value)

        return Change(path, f"{value!r}", apply)

    def left_out(content: Content) -> None:
        del _around(content, path)[path[-1]]

    return st.one_of(st.just(Change(path, "left out", left_out)), st.sampled_from(_VALUES).map(put))


def _around(content: Content, path: tuple[str | int, ...]) -> Any:
    found: Any = content.keys
    for key in path[:-1]:
        found = found[key]
    return found


def _of_tensor(content: Content, name: str) -> st.SearchStrategy[Change]:
    value = content.tensors[name]

    def by(how: str, make: Callable[[Any], Any]) -> Change:
        def apply(changed: Content) -> None:
            made = make(changed.tensors.pop(name))
            if made is not None:
                changed.tensors[name] = np.ascontiguousarray(made)

        return Change((name,), how, apply)

    shapes = [by("left out", lambda old: None), by("one axis more", lambda old: old[None])]
    if value.ndim and len(value):
        shapes += [by("cut", lambda old: old[:-1]), by("none", lambda old: old[:0])]
        shapes += [by("twice", lambda old: np.concatenate([old, old]))]
        shapes += [by("turned", lambda old: old.T), by("flat", lambda old: old.reshape(-1))]
        shapes += [by("the other way round", lambda old: old[::-1])]

    def typed(kind: str) -> Change:
        return by(kind, lambda old: old.astype(kind))

    def at(place: tuple[int, Any]) -> Change:
        def put(old: Any) -> Any:
            old.reshape(-1)[place[0] % old.size] = place[1]
            return old

        return by(f"{place[1]} at {place[0] % max(1, value.size)}", put)

    found = [st.sampled_from(shapes), st.sampled_from(_TYPES).map(typed)]
    if value.size:
        places = st.integers(0, value.size - 1)
        found.append(st.tuples(places, _entries(value.dtype)).map(at))
    return st.one_of(*found)


def _entries(dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    """Values of a type, the odd ones first."""
    if dtype.kind == "b":
        return st.booleans()
    if dtype.kind == "f":
        return st.sampled_from([dtype.type(number) for number in _NUMBERS if dtype.itemsize > 2])
    limits = np.iinfo(dtype)
    odd = [number for number in _WHOLE if limits.min <= number <= limits.max]
    return st.one_of(
        st.sampled_from([*odd, int(limits.max)]), st.integers(int(limits.min), int(limits.max))
    ).map(dtype.type)


def names(change: Change, message: str) -> bool:
    """Whether a message names what was changed, or the tensor or key that does not fit it."""
    parts = [part.split(".")[-1] for part in change.what if isinstance(part, str)]
    parts += ["layer "] if "layers" in change.what else []
    return "tensor" in message or any(part in message for part in parts) or "not a" in message
