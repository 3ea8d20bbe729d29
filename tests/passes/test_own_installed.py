"""Passes of installed packages are found by name, and take their place."""

from __future__ import annotations

import pytest

from pimc.errors import UsageError
from pimc.passes.own import installed_passes

SOURCE = """
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class Quiet:
    name: ClassVar[str] = "quiet"
    after: ClassVar[str] = "tile"
    def __call__(self, plan, chip):
        return plan

@dataclass(frozen=True)
class Placeless:
    name: ClassVar[str] = "placeless"
    def __call__(self, plan, chip):
        return plan

@dataclass(frozen=True)
class Needy:
    budget: int
    name: ClassVar[str] = "needy"
    def __call__(self, plan, chip):
        return plan

@dataclass(frozen=True)
class Breaks:
    name: ClassVar[str] = "breaks"
    after: ClassVar[str] = "tile"
    def __call__(self, plan, chip):
        return None

nothing = lambda: None
"""


@pytest.fixture
def lab(install) -> None:
    names = ("Quiet", "Placeless", "Needy", "Breaks", "nothing")
    install("pimc-lab", "pimc.passes", {name.lower(): name for name in names}, SOURCE)


def test_installed_passes_are_found_by_name(lab) -> None:
    found = installed_passes(["quiet", "placeless:after=pack", "breaks:after=pack"])
    assert {stage: [step.name for step in steps] for stage, steps in found.items()} == {
        "tile": ["quiet"], "pack": ["placeless", "breaks"],
    }  # fmt: skip
    assert installed_passes([]) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quite", r"no such pass \(did you mean quiet\?\)"),
        ("placeless", r"does not say where it goes \(write placeless:after=STAGE\)"),
        ("quiet:before=tile", "not understood"),
        ("quiet:after=", "not understood"),
        ("quiet:after=tiles", "did you mean tile"),
        ("needy:after=tile", "the pass cannot be made: .*budget"),
        ("nothing:after=tile", "a NoneType is no pass"),
    ],
)
def test_what_is_installed_but_cannot_run(text: str, message: str, lab) -> None:
    with pytest.raises(UsageError, match=message):
        installed_passes([text])


def test_the_command_line_takes_them(lab, pimc, here, tiny_model) -> None:
    import onnx

    onnx.save(tiny_model(), here / "tiny.onnx")
    done = pimc("compile", "tiny.onnx", "--pass", "quiet", "--pass", "placeless:after=pack")
    assert done.code == 0, done.err
    assert "quiet" in done.out
    options = pimc("info", "--json").json
    assert options["arrays_used"] > 0
    broken = pimc("compile", "tiny.onnx", "--pass", "breaks")
    assert broken.code == 2
    assert "breaks: the pass returned NoneType, not a Plan" in broken.err
