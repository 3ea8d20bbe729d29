"""Abilities of a driver's device behind checks: they survive, and are checked, too."""

from __future__ import annotations

from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pimc.errors import DeviceError, UsageError
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.door import abilities
from pimc.runtime.door.checked import checked
from pimc.runtime.door.device import Device, Saturation
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from tests.runtime.door.faulty import raising

ABILITIES = {
    "Ageable": ("age",),
    "CountsReads": ("reads",),
    "CountsSaturation": ("saturation",),
    "CountsWrites": ("times_written",),
    "Observable": ("observer",),
    "ReadsLayers": ("reads_whole", "read_layer"),
    "Rectifies": ("rectifies",),
    "Resumable": ("state", "restore"),
    "Savable": ("save", "reads_change"),
    "TellsAge": ("age_s",),
}


class Able(SimDevice):
    """A device with every ability, one of which answers wrongly."""

    wrong: tuple[str, Any] = "", None

    def __getattribute__(self, name: str) -> Any:
        asked, answer = type(self).wrong
        return answer if name == asked else super().__getattribute__(name)


def programmed(image: Image, kind: type[SimDevice] = SimDevice) -> SimDevice:
    device = kind(Die.simulated(3), image.chip, image.arrays, read_seed=3)
    program(image, device)
    return device


def lab(device: Any, image: Image) -> Any:
    return checked(device, "lab", image.chip)


def has(device: object) -> set[str]:
    return {name for name in ABILITIES if isinstance(device, getattr(abilities, name))}


def test_the_table_names_every_ability() -> None:
    found = {name for name, kind in vars(abilities).items() if getattr(kind, "_is_protocol", False)}
    assert found - {"Device", "Simulator", "Protocol"} == set(ABILITIES)


@pytest.mark.parametrize("only", [*ABILITIES, "", "all"])
def test_abilities_survive_and_none_is_added(tiny_image, only: str) -> None:
    inner = programmed(tiny_image)
    wanted = set(ABILITIES) if only == "all" else {only} - {""}
    members = [member for name in wanted for member in ABILITIES[name]]
    given = {name: getattr(inner, name) for name in ("name", "program", "written", "read")}
    given |= {name: getattr(inner, name) for name in members}
    device = lab(SimpleNamespace(**given), tiny_image)
    assert isinstance(device, Device)
    assert has(device) == wanted


def test_half_an_ability_is_none(tiny_image) -> None:
    given = dict.fromkeys(("program", "written", "read", "save", "state", "read_layer"))
    assert has(lab(SimpleNamespace(name="lab", **given), tiny_image)) == set()


def test_abilities_do_what_the_device_does(tiny_image, tiny_inputs, tmp_path) -> None:
    inner, twin = programmed(tiny_image), programmed(tiny_image)
    device = lab(inner, tiny_image)
    wanted = Session(tiny_image, die=twin).run(None, {"x": tiny_inputs})[0]
    np.testing.assert_array_equal(
        Session(tiny_image, die=device).run(None, {"x": tiny_inputs})[0], wanted
    )
    assert device.reads == inner.reads == twin.reads > 0
    assert device.saturation == inner.saturation
    state = device.state()
    assert set(state) == set(inner.state())
    view = device.observer(4)
    assert has(view) == set(ABILITIES)
    Session(tiny_image, die=view).run(None, {"x": tiny_inputs})
    assert device.reads == twin.reads
    device.save(tmp_path / "a.die")
    assert Die.load(tmp_path / "a.die").seed == 3
    assert device.reads_change is False
    cells = np.argwhere(tiny_image.used.reshape(-1))
    assert (device.times_written(cells) == 1).all()
    device.age(60.0)
    assert inner.die.clock_s == 60.0
    with pytest.raises(UsageError):
        device.age(-1.0)
    with pytest.raises(UsageError):
        device.save(tmp_path / "gone" / "a.die")
    device.restore(state)


def test_what_no_protocol_knows_of_is_passed_on(tiny_image) -> None:
    device = lab(SimpleNamespace(name="lab", volts=1.5), tiny_image)
    assert device.volts == 1.5
    with pytest.raises(AttributeError, match="amperes"):
        assert device.amperes


@pytest.mark.parametrize(
    ("member", "answer", "told"),
    [
        ("reads", -1, "reads: gave -1 instead of a count"),
        ("reads", 1.5, "reads: gave 1.5 instead of a count"),
        ("reads", None, "reads: gave None instead of a count"),
        ("reads_change", None, "reads_change: gave None instead of True or False"),
        ("saturation", None, "saturation: gave None instead of a table of layers"),
        ("saturation", {"w1": 3}, "saturation: gave 3 for 'w1' instead of a Saturation"),
        ("saturation", {"w1": Saturation(3, 4)}, "saturation: gave 4 clipped of 3"),
        ("saturation", {"w1": Saturation(3, -1)}, "saturation: gave -1 instead of a count"),
        ("state", lambda: None, "state: gave None instead of a table of arrays"),
        ("state", lambda: {"g": [1]}, "state: gave a value of type list for 'g'"),
        ("state", lambda: {"g": np.array(["x"])}, "state: gave str.* for 'g'"),
        ("state", lambda: {"g": np.array([None])}, r"state: gave object \[1\] for 'g'"),
        ("times_written", lambda cells: 1, "times_written: gave 1 instead of an array"),
        ("times_written", lambda cells: cells * -1, "times_written: gave counts down to -2"),
        ("times_written", lambda cells: cells[:1], r"times_written: gave int64 \[1\] instead of"),
        ("observer", lambda seed: None, "name: AttributeError"),
        ("restore", raising(OSError("gone")), "restore: OSError: gone"),
        ("save", raising(OSError("gone")), "save: OSError: gone"),
        ("age", raising(OSError("gone")), "age: OSError: gone"),
        ("reads_whole", lambda layer: 1, "reads_whole: gave 1 instead of True or False"),
        ("read_layer", lambda *_: None, "read_layer: gave None instead of a tensor"),
        ("read_layer", lambda r, v, x, s: x, r"read_layer: gave float32 \[.*\] instead of"),
        ("read_layer", raising(OSError("gone")), "read_layer: "),
    ],
)
def test_abilities_are_checked_too(
    tiny_image, tiny_inputs, tmp_path, monkeypatch, member, answer, told
) -> None:
    inner = programmed(tiny_image, Able)
    monkeypatch.setattr(Able, "wrong", (member, answer))

    def reads_a_layer(device: Device) -> None:
        Session(tiny_image, die=device).run(None, {"x": tiny_inputs})

    uses: dict[str, Any] = {
        "state": lambda device: device.state(),
        "observer": lambda device: device.observer(1),
        "restore": lambda device: device.restore({}),
        "save": lambda device: device.save(tmp_path / "a"),
        "age": lambda device: device.age(1.0),
        "times_written": lambda device: device.times_written(np.arange(3)),
        "reads_whole": reads_a_layer,
        "read_layer": reads_a_layer,
    }
    use = uses.get(member, attrgetter(member))
    with pytest.raises(DeviceError, match=told):
        use(lab(inner, tiny_image))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), None])
def test_outputs_of_whole_layers_are_checked(tiny_image, tiny_inputs, monkeypatch, wrong) -> None:
    inner = programmed(tiny_image)
    right = inner.read_layer

    def read_layer(*arguments: Any) -> torch.Tensor:
        found = right(*arguments)
        return found[:, :-1] if wrong is None else found.index_fill(1, torch.tensor(0), wrong)

    monkeypatch.setattr(inner, "read_layer", read_layer)
    with pytest.raises(DeviceError, match=r"read_layer: gave (outputs of|float32)"):
        Session(tiny_image, die=lab(inner, tiny_image)).run(None, {"x": tiny_inputs})
