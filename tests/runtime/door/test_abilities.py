"""Abilities: who has which, how they are asked for, and that nothing else is asked."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.door import abilities
from pimc.runtime.door.abilities import (
    age,
    flush,
    keep_disturb,
    observer,
    reads_of,
    saturation_of,
)
from pimc.runtime.door.capture_file import Capture
from pimc.runtime.door.device import Device, Saturation
from pimc.runtime.door.program import program
from pimc.runtime.door.replay import ReplayDevice
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.door.sim_driver import SimDriver
from pimc.runtime.session import Session

ROOT = Path(__file__).parents[3]
PROTOCOLS = {
    name: found
    for name, found in inspect.getmembers(abilities, inspect.isclass)
    if found.__module__ == abilities.__name__
}


def members(protocol: type) -> list[str]:
    return [name for name in vars(protocol) if not name.startswith("_")]


def chip(**extra: Any) -> Any:
    """A chip that computes nothing, with abilities that a test looks at."""
    return SimpleNamespace(name="lab", program=None, written=None, read=None, **extra)


# --- who has which -----------------------------------------------------------------------------


def test_the_simulated_chip_has_every_ability(tiny_image: Image) -> None:
    assert len(PROTOCOLS) == 11
    device = SimDevice(Die.simulated(1), tiny_image.chip, tiny_image.arrays)
    found = {name for name, protocol in PROTOCOLS.items() if isinstance(device, protocol)}
    assert found == set(PROTOCOLS) - {"Simulator"}
    assert isinstance(SimDriver, abilities.Simulator)


def test_a_recording_has_none(tiny_image: Image) -> None:
    device = ReplayDevice(tiny_image, Capture(tiny_image.sha256, "sim:3", {}, {}))
    assert isinstance(device, Device)
    for protocol in PROTOCOLS.values():
        assert not isinstance(device, protocol)
        assert not isinstance(ReplayDevice, protocol)


def test_every_ability_says_what_is_done_with_and_without_it() -> None:
    for protocol in PROTOCOLS.values():
        text = inspect.getdoc(protocol) or ""
        assert re.search(r"\bWith it\b", text), protocol
        assert re.search(r"\bWithout it\b", text), protocol


def test_the_documentation_lists_every_ability_with_its_methods() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (`.+?`) \| .+ \| .+ \|$", text, re.M))
    documented = {name: re.findall(r"`(\w+)", cell) for name, cell in rows.items()}
    wanted = {name: members(protocol) for name, protocol in PROTOCOLS.items()}
    assert {name: sorted(found) for name, found in documented.items()} == {
        name: sorted(found) for name, found in wanted.items()
    }


# --- how they are asked for --------------------------------------------------------------------


def test_the_observer_is_asked_for_another_seed() -> None:
    view, plain = chip(), chip()
    assert observer(chip(observer={5: view}.pop), 4) is view
    assert observer(plain, 4) is plain


@pytest.mark.parametrize("change", [False, True])
def test_a_chip_is_saved_where_a_path_was_given(change: bool) -> None:
    saved: list[Path] = []
    device = chip(save=saved.append, reads_change=change)
    for save in (flush, keep_disturb):
        save(device, None)
        save(chip(), Path("a"))
    assert saved == []
    flush(device, Path("a"))
    keep_disturb(device, Path("b"))
    assert saved == [Path("a"), Path("b")][: 1 + change]


def test_time_passes_where_it_can() -> None:
    passed: list[float] = []
    age(chip(age=passed.append), 60.0)
    assert passed == [60.0]
    age(chip(), 0.0)
    with pytest.raises(UsageError, match="does not age at will"):
        age(chip(), 1.0)


def test_counts_are_known_where_there_are_any() -> None:
    met = {"w": Saturation(4, 1)}
    assert (reads_of(chip()), saturation_of(chip())) == (None, {})
    device = chip(reads=np.int64(7), saturation=met)
    assert (reads_of(device), saturation_of(device)) == (7, met)


class Whole:
    """A chip that reads some layers whole, and notes on how many threads torch computes."""

    def __init__(self, image: Image, layers: int) -> None:
        self._inner = SimDevice(Die.simulated(3), image.chip, image.arrays, read_seed=3)
        program(image, self._inner)
        self.name, self.program = self._inner.name, self._inner.program
        self.written, self.read = self._inner.written, self._inner.read
        self.layers = layers
        self.seen: list[tuple[str, int]] = []

    def reads_whole(self, layer: Any) -> bool:
        return bool(layer.index < self.layers)

    def read_layer(self, region: Any, layer: Any, x: torch.Tensor, side: Any = None) -> Any:
        self.seen.append((layer.name, torch.get_num_threads()))
        return self._inner.read_layer(region, layer, x, side)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("layers", "threads"), [(0, 2), (2, 2), (3, 1)])
def test_a_chip_is_given_the_layers_that_it_reads_whole(
    tiny_image, tiny_inputs, two_threads, layers: int, threads: int
) -> None:
    assert len(tiny_image.layers) == 3
    device = Whole(tiny_image, layers)
    (found,) = Session(tiny_image, die=device).run(None, {"x": tiny_inputs})
    assert device.seen == [(layer.name, threads) for layer in tiny_image.layers[:layers]]
    (wanted,) = Session(tiny_image, die=Die.simulated(3), seed=3).run(None, {"x": tiny_inputs})
    np.testing.assert_allclose(found, wanted, atol=1e-5)


# --- that nothing else is asked ----------------------------------------------------------------


def asks(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where code asks for the class of a device, or for the name of a driver."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, kinds]):
                if any(getattr(part, "id", "").endswith("Device") for part in ast.walk(kinds)):
                    yield node.lineno, "class"
            case ast.Compare() | ast.match_case():
                parts = [node.pattern] if isinstance(node, ast.match_case) else [node]
                for part in (inner for outer in parts for inner in ast.walk(outer)):
                    if isinstance(part, ast.Constant) and part.value in ("sim", "replay"):
                        yield part.lineno, "name"
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, named, *_]):
                known = {name for protocol in PROTOCOLS.values() for name in members(protocol)}
                if isinstance(named, ast.Constant) and named.value in known:
                    yield node.lineno, "attribute"


def test_what_counts_as_asking() -> None:
    code = """
isinstance(device, SimDevice)
isinstance(device, (int, ReplayDevice))
if "sim" != name: pass
if name in ("sim", "cuda"): pass
match name:
    case "sim": pass
getattr(device, "reads", -1)
isinstance(device, Savable)
_BUILT_IN = {"sim": open}
"""
    found = sorted(asks(ast.parse(code)))
    kinds = ["class", "class", "name", "name", "name", "attribute"]
    assert [kind for _, kind in found] == kinds


@pytest.mark.parametrize("folder", ["pimc", "passes", "runtime"])
def test_no_class_and_no_name_of_a_device_is_asked_for(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert len(paths) > 40
    found = [
        f"{path.relative_to(ROOT)}:{line}: {kind}"
        for path in paths
        for line, kind in asks(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []
