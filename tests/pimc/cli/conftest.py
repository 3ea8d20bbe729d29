"""What tests of several commands share: a laboratory's driver, and the commands by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import pytest

from pimc.cli.registry import commands
from pimc.image.image import Image
from pimc.runtime.door import drivers

DOCS = Path(__file__).parents[3] / "docs"
#: What every device has, and what docs/lab_driver.py adds, by ability.
NEEDED = ("name", "program", "written", "read")
ABILITIES = {
    "Observable": ("observer",),
    "Savable": ("save", "reads_change"),
    "Resumable": ("state", "restore"),
    "Ageable": ("age",),
    "CountsReads": ("reads",),
    "CountsSaturation": ("saturation",),
}


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Installs the driver as ``lab``, and its function ``open`` alone as ``rack``."""
    site = tmp_path_factory.mktemp("site")
    (site / "lab_driver.py").write_bytes((DOCS / "lab_driver.py").read_bytes())
    info = site / "lab_driver-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-driver\nVersion: 1.0\n")
    entries = "lab = lab_driver:Lab\nrack = lab_driver:Lab.open\n"
    (info / "entry_points.txt").write_text(f"[pimc.devices]\n{entries}")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "lab_driver", raising=False)
    import lab_driver  # type: ignore[import-not-found, unused-ignore]  # on the path only here

    yield lab_driver
    sys.modules.pop("lab_driver", None)


def passed_on(rack: Any, member: str) -> property:
    return property(lambda self: getattr(rack, member))


@pytest.fixture
def without(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs a driver ``bare`` whose racks lack abilities."""

    def install(*abilities: str, simulates: bool = False) -> None:
        lacking = {member for ability in abilities for member in ABILITIES[ability]}
        members = {member for found in ABILITIES.values() for member in found} - lacking

        def proxy(rack: Any) -> Any:
            """Passes on what is left, and nothing else."""
            named = {member: passed_on(rack, member) for member in {*NEEDED, *members}}
            return type("Bare", (), named)()

        def opens(image: Image, *, die: Path | None, seed: int, **how: Any) -> Any:
            opened = lab.Lab.simulate if how else lab.Lab.open
            return proxy(opened(image, die=die, seed=seed, **how))

        methods = {"open": staticmethod(opens)}
        if simulates:
            methods["simulate"] = staticmethod(opens)
        monkeypatch.setitem(drivers._BUILT_IN, "bare", type("BareDriver", (), methods))

    return install


@pytest.fixture
def noisy_reads(recovery_job: Path, noisy: Image) -> Image:
    """The image in the current folder, on a chip whose reads are noisy, too."""
    chip = noisy.chip.with_(**{"read_noise.relative": 0.02})
    changed = noisy.updated(chip=chip.to_dict())
    changed.save("tiny.pimc")
    return changed


@pytest.fixture(scope="session")
def called() -> Callable[[str], dict[str, click.Command]]:
    """A command by its name, and those below it: ``called("chips")`` has ``chips import``, too."""

    def find(name: str) -> dict[str, click.Command]:
        command = commands()[name].load()
        if not isinstance(command, click.Group):
            return {name: command}
        # The word show may be left out.
        return {f"{name} {below}".removesuffix(" show"): one
                for below, one in command.commands.items()}  # fmt: skip

    return find


@pytest.fixture
def model(tiny_model, tiny_inputs, here):
    """A folder with tiny.onnx and calib.npz."""
    onnx.save(tiny_model(), "tiny.onnx")
    np.savez("calib.npz", x=tiny_inputs)
    return here
