"""Things of other packages are found, named and loaded, and never guessed at."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from pimc.errors import ChipError, DeviceError, PimcError, UsageError
from pimc.files.entry_points import Extensions

GROUP = "pimc.tests"
OURS = {"zip": "our zip", "bolt": "our bolt"}
FASTENERS = Extensions(GROUP, "fastener", OURS, broken=DeviceError)


def test_ours_need_no_metadata_and_stand_first(install) -> None:
    assert FASTENERS.names() == ["zip", "bolt"]
    assert FASTENERS.load("zip") == "our zip"
    install("pimc-glue", GROUP, {"nail": "nail", "glue": "glue"}, "nail, glue = 'nail', 'glue'")
    assert FASTENERS.names() == ["zip", "bolt", "glue", "nail"]
    assert [FASTENERS.load(name) for name in FASTENERS.names()] == [
        "our zip", "our bolt", "glue", "nail",
    ]  # fmt: skip


def test_other_groups_are_none_of_its_business(install) -> None:
    install("pimc-glue", "pimc.others", {"glue": "glue"}, "glue = 1")
    assert FASTENERS.names() == ["zip", "bolt"]


def test_a_name_that_nobody_gives(install) -> None:
    install("pimc-glue", GROUP, {"glue": "glue"}, "glue = 1")
    with pytest.raises(UsageError, match=r"no such fastener \(did you mean bolt\?\)") as caught:
        FASTENERS.load("bold")
    assert caught.value.where == "bold"
    assert caught.value.hint == "installed are zip, bolt, glue"
    with pytest.raises(UsageError) as caught:
        FASTENERS.load("bold", where="--fastener bold")
    assert caught.value.where == "--fastener bold"


def test_where_there_is_nothing_at_all() -> None:
    nothing = Extensions(GROUP, "fastener", unknown=ChipError)
    assert nothing.names() == []
    with pytest.raises(ChipError, match="no such fastener") as caught:
        nothing.load("glue")
    assert caught.value.hint == "install its package"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import gone_for_good", "No module named 'gone_for_good'"),
        ("raise RuntimeError('no licence')", "no licence"),
        ("raise KeyError", "KeyError"),
        ("import sys; sys.exit('bye')", "bye"),
        ("def glue(:", "invalid syntax"),
        ("", "has no attribute 'glue'"),
    ],
)
def test_whatever_the_import_raises_is_said_with_the_package(
    source: str, message: str, install
) -> None:
    install("pimc-glue", GROUP, {"glue": "glue"}, source)
    with pytest.raises(DeviceError, match=f"the fastener cannot be loaded: .*{message}") as caught:
        FASTENERS.load("glue")
    assert caught.value.where == "glue"
    hint = "install its package again: pimc-glue 1.0 names pimc_glue:glue"
    assert caught.value.hint == hint
    assert FASTENERS.names() == ["zip", "bolt", "glue"]  # listing imports nothing


def test_an_interrupt_is_no_failure_of_the_package(install) -> None:
    install("pimc-glue", GROUP, {"glue": "glue"}, "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        FASTENERS.load("glue")


def test_two_packages_of_one_name_are_refused(install) -> None:
    install("pimc-glue", GROUP, {"glue": "glue"}, "glue = 1")
    install("pimc-paste", GROUP, {"glue": "glue"}, "glue = 2")
    with pytest.raises(DeviceError, match="2 packages give a fastener of this name") as caught:
        FASTENERS.load("glue")
    assert "pimc-glue 1.0" in caught.value.message
    assert "pimc-paste 1.0" in caught.value.message
    assert caught.value.hint == "uninstall all but one of them"
    assert FASTENERS.names() == ["zip", "bolt", "glue"]


def test_a_package_that_takes_one_of_our_names_is_refused(install) -> None:
    install("pimc-glue", GROUP, {"zip": "glue"}, "glue = 1")
    assert FASTENERS.names() == ["zip", "bolt"]
    with pytest.raises(DeviceError, match=r"2 packages give .*: pimc, pimc-glue 1\.0"):
        FASTENERS.load("zip")
    assert FASTENERS.load("bolt") == "our bolt"


def test_our_own_metadata_and_a_package_found_twice_are_no_second_package(
    install, tmp_path: Path
) -> None:
    from pimc.runtime.door.drivers import devices

    assert {info.name for info in devices() if info.available} >= {"sim", "replay"}
    install("pimc-glue", GROUP, {"glue": "glue"}, "glue = 1")
    (folder,) = (Path(p) for p in sys.path if list(Path(p).glob("pimc_glue-1.0.dist-info")))
    shutil.copytree(folder, tmp_path / "again")
    sys.path.append(str(tmp_path / "again"))
    try:
        assert FASTENERS.load("glue") == 1
    finally:
        sys.path.remove(str(tmp_path / "again"))


def test_prefixes_part_a_group_into_kinds(install) -> None:
    install("pimc-glue", GROUP, {"wet.glue": "glue", "dry.tape": "tape"}, "glue, tape = 1, 2")
    wet = Extensions(GROUP, "fastener", prefix="wet.", loaded="tube", broken=DeviceError)
    assert wet.names() == ["glue"]
    assert wet.load("glue") == 1
    with pytest.raises(PimcError, match=r"no such fastener \(did you mean glue\?\)"):
        wet.load("gue")
    install("pimc-bad", GROUP, {"wet.bad": "bad"}, "raise ValueError('dried up')")
    with pytest.raises(DeviceError, match=r"wet\.bad: the tube cannot be loaded: dried up"):
        wet.load("bad")
