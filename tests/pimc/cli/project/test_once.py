"""A step of a project is done once, and again when anything changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from pimc.image.image import Image
from pimc.project.lines import lines_of

TEXT = 'image = "tiny.pimc"\ncalib = "data"\ndata = "data"\nseed = 900\ndie = "chip.die"\n'
TABLES = "[recover]\nrounds = 1\nepochs = 0\n[eval]\ndies = 1\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_image: Image, tiny_inputs) -> Path:
    """A project with an image and data."""
    folder: Path = tmp_path_factory.mktemp("project")
    tiny_image.save(folder / "tiny.pimc")
    (folder / "data").mkdir()
    labels: np.ndarray = np.arange(len(tiny_inputs)) % 4
    for name in ("calib", "test"):
        np.savez(folder / "data" / f"{name}.npz", x=tiny_inputs, y=labels)
    (folder / "pimc.toml").write_text(TEXT + TABLES)
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch) -> Path:
    folder = shutil.copytree(made, tmp_path / "p")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def fresh(pimc) -> Callable[..., bool]:
    """Whether a command did its work; it must end well."""

    def call(*arguments: str) -> bool:
        done = pimc(*arguments, "--json")
        assert done.code == 0, done.err
        assert done.json["project"]["up_to_date"] == ("is up to date" in done.err)
        return not done.json["project"]["up_to_date"]

    return call


def rewrite(path: str) -> None:
    with np.load(path) as data:
        half = {name: data[name][: len(data[name]) // 2] for name in data.files}
    np.savez(path, **half)


def test_a_step_that_is_asked_again_tells_the_last_report(pimc, project: Path) -> None:
    first, second = pimc("verify", "--json"), pimc("verify", "--json")
    assert first.json.pop("project")["up_to_date"] is False
    assert {**first.json, "project": 0} == {**second.json, "project": 0}
    assert "verify is up to date, since 2" in second.err
    told, again = pimc("verify"), pimc("verify")
    assert told.out == again.out
    assert told.out.startswith("ok: ")
    assert "pimc.toml: --seed 900  image tiny.pimc" in told.out


def test_steps_are_noted_to_less_than_a_second_and_told_to_the_second(pimc, project: Path) -> None:
    """Two steps within a second keep their order."""
    pimc("verify")
    (record,) = Path(".pimc/steps").glob("*.json")
    finished = datetime.fromisoformat(json.loads(record.read_text())["finished"])
    assert finished.microsecond
    assert f"since {finished.isoformat(timespec='seconds')};" in pimc("verify").err


def test_a_summary_of_an_act_is_not_told_again(pimc, project: Path) -> None:
    assert "written" in pimc("program").out
    again = pimc("program")
    assert (again.code, again.out) == (0, "")
    assert "program is up to date" in again.err
    assert pimc("program", "-q").err == ""


def test_inputs_options_and_outputs_count(fresh, project: Path) -> None:
    assert fresh("verify")
    assert not fresh("verify")
    assert fresh("verify", "--samples", "2")
    assert not fresh("verify", "--samples", "2")
    assert not fresh("verify")
    assert fresh("verify", "--force")
    (project / "pimc.toml").write_text(TEXT.replace("900", "901"))
    assert fresh("verify")
    image = Image.load("tiny.pimc")
    levels = image.levels.copy()
    levels[tuple(np.argwhere(image.used)[0])] ^= 1
    image.updated(levels=levels).save("tiny.pimc")
    assert fresh("verify")


def test_a_step_that_failed_is_done_again(pimc, fresh, project: Path) -> None:
    assert pimc("eval", "--min-accuracy", "100").code == 1
    assert pimc("eval", "--min-accuracy", "100").code == 1
    assert fresh("eval", "--min-accuracy", "0")


def test_outputs_that_change_or_go_are_made_again(pimc, fresh, project: Path) -> None:
    assert fresh("program")
    assert fresh("capture")
    assert not fresh("capture")
    Path("tiny.pimccap").unlink()
    assert "tiny.pimccap is gone" in pimc("capture").err
    Path("tiny.pimccap").write_bytes(b"x")
    assert "tiny.pimccap has changed" in pimc("capture").err
    assert not fresh("capture")


def test_steps_of_one_die(pimc, fresh, project: Path) -> None:
    assert fresh("program")
    assert fresh("recover")
    held = Path("chip.die").read_bytes()
    # What recovery made of the die is what programming led to.
    assert not fresh("program")
    assert not fresh("recover")
    assert Path("chip.die").read_bytes() == held
    # A recovery by other rules begins with another writing.
    (project / "pimc.toml").write_text(TEXT + TABLES.replace("epochs = 0", "epochs = 1"))
    assert "chip.die has changed" in pimc("program").err
    assert fresh("recover")
    assert not fresh("program")
    # What somebody else did to the die is known to nobody.
    assert pimc("age", "1d").code == 0
    assert fresh("program")


def test_an_aged_die_makes_stale_what_was_done_with_it(pimc, fresh, project: Path) -> None:
    """Time passes each time; what was done before is done again, and afterwards all is known."""
    die = ("--die", "chip.die")
    assert fresh("program")
    assert fresh("eval", *die)
    assert fresh("age", "1d")
    assert fresh("age", "1d")
    assert "chip.die has changed" in pimc("eval", *die).err
    assert not fresh("eval", *die)
    assert fresh("recover")
    assert not fresh("recover")
    assert list(lines_of(project / "chip.die")) == [
        "pimc program --json", *["pimc age 1d --json"] * 2, "pimc recover --json",
    ]  # fmt: skip
    assert pimc("age", "1d", "--json").json["clock_s"] == 3 * 86400
    assert "chip.die has changed" in pimc("program").err


def test_a_new_capture_makes_its_recovery_stale_and_not_itself(pimc, fresh, project: Path) -> None:
    (project / "pimc.toml").write_text(TEXT.replace('die = "chip.die"\n', "") + TABLES)
    capture = ("capture", "--die", "chip.die", "-o", "data/bench.pimccap", "--record", "sums")
    assert fresh("program", "--die", "chip.die")
    assert fresh(*capture)
    assert not fresh(*capture)
    assert fresh("recover")
    assert not fresh("recover")
    assert not fresh(*capture)
    assert list(lines_of(project / "tiny.r1.pimc")) == [
        "pimc program --die chip.die --json", f"pimc {' '.join(capture)} --json",
        "pimc recover --json",
    ]  # fmt: skip
    assert fresh(*capture, "--seed", "7")
    assert "recover is done again: data/bench.pimccap has changed" in pimc("recover").err
    assert not fresh("recover")
    assert fresh("age", "1d", "--die", "chip.die")
    assert "capture is done again: chip.die has changed" in pimc(*capture).err


def test_what_changes_no_result_does_nothing_again(fresh, project: Path) -> None:
    assert fresh("program")
    assert fresh("recover", "--memory", "4G")
    assert not fresh("recover", "--memory", "5G", "--jobs", "1")


def test_what_the_file_says_of_several_dies_is_not_for_one(pimc, project: Path) -> None:
    of_several = 'picture = "p.svg"\ntable = "t.csv"\nmap = "map.csv"\njobs = 2\n'
    Path("map.csv").write_text("die,x,y\nsim:900,0,0\nsim:901,1,0\n")
    tables = TABLES.replace("[eval]", f"{of_several}[eval]")
    (project / "pimc.toml").write_text(TEXT.replace('die = "chip.die"\n', "") + tables)
    alone = pimc("recover", "--json")
    assert alone.code == 0, alone.err
    assert not {"p.svg", "t.csv"} & {path.name for path in project.iterdir()}
    several = pimc("recover", "--dies", "2", "--json")
    assert several.code == 0, several.err
    assert (several.json["table"], several.json["pictures"]) == ("t.csv", ["p.svg", "p.wafer.svg"])
    # On the command line it is refused, and so is a target, which decides the exit code.
    assert "--picture: is for several dies" in pimc("recover", "--picture", "q.svg").err
    (project / "pimc.toml").write_text(TEXT + TABLES.replace("[eval]", "max-drop = 5\n[eval]"))
    assert "--max-drop: is for several dies" in pimc("recover").err


def test_a_drawn_die_is_an_output(pimc, fresh, project: Path) -> None:
    (project / "pimc.toml").write_text(TEXT.replace('die = "chip.die"\n', "") + TABLES)
    assert fresh("recover")
    assert not fresh("recover")
    assert pimc("age", "1d", "--die", "tiny.r1.die").code == 0
    assert fresh("recover")


def test_nothing_is_noted_without_a_project(pimc, project: Path) -> None:
    assert "project" not in pimc("verify", "tiny.pimc", "--project", "-", "--json").json
    assert not Path(".pimc").exists()


def test_what_nobody_can_foresee_is_always_done(fresh, project: Path) -> None:
    Path("made.py").write_text(
        "import numpy as np\n"
        "def samples():\n    for n in range(8):\n        yield np.zeros((2, 8, 8), np.float32), 0\n"
    )
    assert fresh("eval", "--data", "made:samples")
    assert fresh("eval", "--data", "made:samples")


def test_records_that_are_damaged_are_made_again(fresh, project: Path) -> None:
    assert fresh("verify")
    (record,) = Path(".pimc/steps").glob("*.json")
    assert json.loads(record.read_text())["command"] == "verify"
    record.write_text("{")
    assert fresh("verify")
    assert not fresh("verify")


def test_data_count_without_what_steps_wrote(fresh, project: Path) -> None:
    for name in ("calib.npz", "test.npz"):
        shutil.move(f"data/{name}", name)
    (project / "pimc.toml").write_text(TEXT.replace('"data"', '"."') + TABLES)
    assert fresh("eval")
    assert fresh("program")
    assert not fresh("eval")
    rewrite("test.npz")
    assert fresh("eval")


def test_the_data_that_are_meant_count(fresh, project: Path) -> None:
    assert fresh("verify", "--data", "data")
    assert fresh("eval")
    rewrite("data/test.npz")
    assert not fresh("verify", "--data", "data")
    assert fresh("eval")
    rewrite("data/calib.npz")
    assert fresh("verify", "--data", "data")
    assert not fresh("eval")
    Path("data/data.toml").write_text("scale = 2.0\n")
    assert fresh("verify", "--data", "data")
    assert fresh("eval")
