"""Objects of a manifest: every malformed key is named, what is not known is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from pimc.errors import DeviceError
from pimc.files.manifest import read_key, read_object
from pimc.files.strict import Rule, key


@dataclass(frozen=True)
class Inner:
    """An object inside."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("low", lambda inner: inner.low < inner.high, "must be below high"),
    )

    low: int = field(metadata=key("int", "the least", low=0))
    high: int = field(metadata=key("int", "the largest"))


@dataclass(frozen=True)
class Outer:
    """The object."""

    name: str = field(metadata=key("str", "what it is called"))
    inner: Inner | None = field(metadata=key("table", "limits", table=Inner))
    free: Mapping[str, Any] = field(metadata=key("table", "anything"))
    parts: list[Any] = field(metadata=key("tables", "objects"))
    names: tuple[str, ...] = field(default=(), metadata=key("strs", "names"))
    note: str = ""


WHOLE = {"name": "x", "inner": {"low": 1, "high": 2}, "free": {"a": [None]}, "parts": [{}]}


def test_what_is_described_is_read() -> None:
    found = read_object(Outer, WHOLE, "here", DeviceError)
    assert found == {
        "name": "x", "inner": Inner(1, 2), "free": {"a": [None]}, "parts": [{}], "names": (),
    }  # fmt: skip
    assert read_object(Outer, WHOLE | {"inner": None}, "here", DeviceError)["inner"] is None
    assert read_key(Outer, "names", WHOLE | {"names": ["a"]}, "here", DeviceError) == ("a",)


def test_what_is_not_known_is_ignored() -> None:
    newer = WHOLE | {"new": 1, "note": 7, "inner": {"low": 1, "high": 2, "new": {}}}
    assert read_object(Outer, newer, "x", DeviceError) == read_object(
        Outer, WHOLE, "x", DeviceError
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, "name: must be a string, not None"),
        ({"inner": 3}, "inner: must be an object, not 3"),
        ({"inner": {"low": -1, "high": 2}}, "inner.low: must be a whole number, 0 or more, not -1"),
        ({"inner": {"low": 1}}, "inner.high: missing"),
        ({"inner": {"low": 2, "high": 1}}, "inner.low: must be below high"),
        ({"free": []}, "free: must be an object"),
        ({"free": None}, "free: must be an object"),
        ({"parts": {}}, "parts: must be a list of objects"),
        ({"parts": [3]}, "parts: must be a list of objects"),
        ({"names": ["a", 3]}, "names: must be a list of strings"),
        ({"names": "ab"}, "names: must be a list of strings"),
        ({"name": 3, "free": 3}, "name: must be a string, not 3; free: must be an object, not 3"),
    ],
)
def test_a_malformed_key_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceError) as caught:
        read_object(Outer, WHOLE | changes, "x.die", DeviceError, "mend it")
    assert caught.value.message.startswith(message)
    assert (caught.value.where, caught.value.hint) == ("x.die", "mend it")


@pytest.mark.parametrize("name", WHOLE)
def test_a_missing_key_is_named(name: str) -> None:
    without = {key: value for key, value in WHOLE.items() if key != name}
    with pytest.raises(DeviceError, match=f"x: {name}: missing"):
        read_object(Outer, without, "x", DeviceError)
    with pytest.raises(DeviceError, match=f"x: {name}: missing"):
        read_key(Outer, name, without, "x", DeviceError)


@pytest.mark.parametrize("entry", [None, [], 3, "x"])
def test_what_is_no_object_is_refused(entry: Any) -> None:
    with pytest.raises(DeviceError, match="x: must be an object, not"):
        read_object(Outer, entry, "x", DeviceError)
