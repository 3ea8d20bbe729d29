"""Files that earlier versions wrote load forever, and mean what they meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.errors import PimcError, RecoveryError
from pimc.files import container
from pimc.files.writing.atomic import sha256_array
from pimc.image import image as image_format
from pimc.image.image import Image
from pimc.passes.recover.bench import checkpoint as recovery_format
from pimc.passes.recover.bench.bench import Bench
from pimc.passes.recover.bench.checkpoint import Checkpoint
from pimc.passes.recover.bench.common import Common
from pimc.passes.recover.bench.state import State
from pimc.progress import silent
from pimc.runtime.capture import Capture
from pimc.runtime.die import die as die_format
from pimc.runtime.die.die import Die
from pimc.runtime.door import capture_file as capture_format
from pimc.runtime.session import Session
from tests.released import write_samples

HERE = Path(__file__).parent
FORMATS: dict[str, Any] = {
    ".pimc": image_format,
    ".die": die_format,
    ".pimccap": capture_format,
    ".recovery": recovery_format,
}


def samples(suffix: str) -> list[Any]:
    """All files of a format."""
    found = sorted(HERE.glob(f"*/*{suffix}"))
    return [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in found]


def expected(path: Path) -> dict[str, Any]:
    return json.loads((path.parent / "expected.json").read_text(encoding="utf-8"))[path.name]


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Hashes and names exactly, outputs up to how a processor rounds."""
    outputs, meant = found.pop("outputs", []), wanted.pop("outputs", [])
    assert found == wanted
    np.testing.assert_allclose(outputs, meant, rtol=1e-4, atol=1e-5)


def version_of(path: Path) -> int:
    format_ = FORMATS[path.suffix]
    name = format_.FORMAT
    return container.load(path, name, format_.VERSION, PimcError)[0]["version"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_there_is_a_file_of_the_present_version_of_every_format(suffix: str) -> None:
    versions = {version_of(sample.values[0]) for sample in samples(suffix)}
    assert FORMATS[suffix].VERSION in versions


@pytest.mark.parametrize("path", samples(".pimc"))
def test_images(path: Path, tmp_path: Path) -> None:
    image, wanted = Image.load(path), expected(path)
    assert image.manifest["recovery"] == wanted.pop("recovery", None)
    same(write_samples.of_image(image), wanted)
    image.save(tmp_path / "again.pimc")
    assert Image.load(tmp_path / "again.pimc").levels.tolist() == image.levels.tolist()
    if version_of(path) == image_format.VERSION:
        assert (tmp_path / "again.pimc").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", samples(".die"))
def test_dies(path: Path, tmp_path: Path) -> None:
    die, wanted = Die.load(path), expected(path)
    die.save(tmp_path / "again.die")
    if version_of(path) == die_format.VERSION:
        assert (tmp_path / "again.die").read_bytes() == path.read_bytes()
        image = Image.load(path.with_suffix(".pimc"))
        found, outputs = write_samples.of_die(die, image), wanted.pop("outputs")
        np.testing.assert_allclose(found.pop("outputs"), outputs, rtol=1e-4, atol=1e-5)
        assert found == wanted
    else:
        # What older versions did not know is that of a die just written and never read.
        new = {
            name: value for name, value in vars(die.cells).items() if name not in wanted["cells"]
        }
        assert not any(value.any() for value in new.values())
        assert die.clock_s == wanted["clock_s"]
        known = {name: vars(die.cells)[name] for name in wanted["cells"]}
        assert {n: sha256_array(v) for n, v in known.items()} == wanted["cells"]


@pytest.mark.parametrize("path", samples(".pimccap"))
def test_captures(path: Path, tmp_path: Path) -> None:
    captured = Capture.load(path, Image.load(path.with_suffix(".pimc")))
    assert write_samples.of_capture(captured) == expected(path)
    captured.save(tmp_path / "again.pimccap")
    if version_of(path) == capture_format.VERSION:
        assert (tmp_path / "again.pimccap").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", samples(".recovery"))
def test_cut_recoveries_are_taken_up_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = path.parent / "tiny.pimc"
    if not beside.exists():
        beside = HERE / "0.1.0" / "tiny.pimc"
    image = Image.load(beside)
    device = Session(image, die=Die.load(beside.with_suffix(".die"))).device
    data, options = write_samples.calibration(), write_samples.OPTIONS
    bench = Bench.of(image, device, None, data, options, Common(), silent)
    # The job names the options by a hash, which a new option changes: that refuses the job, not
    # the file.
    job = container.load(path, recovery_format.FORMAT, 99, PimcError)[0]["job"]
    monkeypatch.setattr(Checkpoint, "_job", lambda self, bench: job)
    checkpoint = Checkpoint(path, image, "selective")
    first = State.first(image, options.seed)
    if version_of(path) in recovery_format.READ:
        done, state = checkpoint.load(bench, first)
        assert write_samples.of_state(state, done) == expected(path)
    else:
        with pytest.raises(RecoveryError, match="earlier pimc"):
            checkpoint.load(bench, first)
