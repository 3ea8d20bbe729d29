"""Networks brought to a folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from pimc.errors import UsageError
from pimc.files.writing.atomic import replacing
from pimc.zoo import get as module
from pimc.zoo.get import cache_folder, get
from pimc.zoo.record import network

FASHION = network("fashion-resnet8")


def test_files_are_made_once_and_again_when_they_were_changed(tmp_path: Path) -> None:
    found = get(FASHION, tmp_path)
    assert found.made
    assert found.folder == tmp_path / "fashion-resnet8"
    names = {
        "model.onnx", "calib.npz", "test.npz", "chip.toml", "data.toml", "pimc.toml", "README.md",
    }  # fmt: skip
    assert names <= {path.name for path in found.folder.iterdir()}
    assert not get(FASHION, tmp_path).made
    first = found.path("calib.npz").read_bytes()
    found.path("calib.npz").write_bytes(b"damaged")
    assert get(FASHION, tmp_path).made
    assert found.path("calib.npz").read_bytes() == first
    assert get(FASHION, tmp_path, force=True).made


def test_another_record_makes_another_network_and_other_runs_do_not(tmp_path: Path) -> None:
    get(FASHION, tmp_path)
    assert not get(dataclasses.replace(FASHION, measured=None, samples=7), tmp_path).made
    assert get(dataclasses.replace(FASHION, chip="ihp"), tmp_path).made


def test_a_damaged_stamp_is_no_stamp(tmp_path: Path) -> None:
    stamp = get(FASHION, tmp_path).path("zoo.json")
    for content in (b"{", b"[]", json.dumps({"files": 3}).encode()):
        stamp.write_bytes(content)
        assert get(FASHION, tmp_path).made


def test_the_commands_of_the_folder_name_its_task(tmp_path: Path) -> None:
    found = get(FASHION, tmp_path)
    project = tomllib.loads(found.path("pimc.toml").read_text())
    assert project["task"] == "classification"
    assert project["eval"] == {
        "dies": FASHION.dies, "limit": FASHION.samples, "batch-size": FASHION.batch,
    }  # fmt: skip
    assert "Apache-2.0" in found.path("README.md").read_text()
    notes = network("basic-pitch")
    told = tomllib.loads(module._project(notes))
    assert (told["task"], told["compile"]["digital"]) == ("multi-label", list(notes.digital))
    assert told["eval"]["batch-size"] == notes.batch == 4


@pytest.mark.parametrize("name", ["chip.toml", "pimc.toml", "README.md"])
def test_what_a_user_changed_stays(tmp_path: Path, name: str) -> None:
    path = get(FASHION, tmp_path).path(name)
    first = path.read_text()
    path.write_text(f"{first}# mine\n")
    found = get(FASHION, tmp_path)
    assert (found.made, found.edited) == (False, (name,))
    # Also where the rest is made again, and where nobody knows any more how it was made.
    found.path("calib.npz").write_bytes(b"damaged")
    assert (get(FASHION, tmp_path).made, get(FASHION, tmp_path).edited) == (True, (name,))
    found.path("zoo.json").write_bytes(b"{")
    assert get(FASHION, tmp_path).edited == (name,)
    assert path.read_text().endswith("# mine\n")
    path.unlink()
    found = get(FASHION, tmp_path)
    assert (found.made, found.edited, path.read_text()) == (False, (), first)
    path.write_text("mine")
    assert get(FASHION, tmp_path, force=True).edited == ()
    assert path.read_text() == first


def test_a_folder_of_an_older_pimc_gets_what_is_new(tmp_path: Path) -> None:
    found = get(FASHION, tmp_path)
    stamp = json.loads(found.path("zoo.json").read_text())
    del stamp["files"]["pimc.toml"]
    found.path("pimc.toml").unlink()
    found.path("chip.toml").write_text("old")
    stamp["files"]["chip.toml"] = hashlib.sha256(b"old").hexdigest()
    found.path("zoo.json").write_text(json.dumps(stamp))
    again = get(FASHION, tmp_path)
    assert (again.made, again.edited) == (False, ())
    assert again.path("pimc.toml").exists()
    assert again.path("chip.toml").read_text() != "old"


def test_what_was_made_again_is_nobodys_change(tmp_path: Path, monkeypatch) -> None:
    get(FASHION, tmp_path)
    found = get(FASHION, tmp_path, force=True)
    settings = module._settings(FASHION)
    newer = {name: content + b"# newer\n" for name, content in settings.items()}
    monkeypatch.setattr(module, "_settings", lambda network: newer)
    assert get(FASHION, tmp_path).edited == ()
    assert found.path("chip.toml").read_bytes() == newer["chip.toml"]


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    needy = dataclasses.replace(FASHION, needs=("no_such_package",))
    with pytest.raises(UsageError, match="needs the package no_such_package"):
        get(needy, tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made"):
        get(FASHION, tmp_path / "file")


def test_the_cache_is_where_the_system_has_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "pimc" / "zoo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "pimc" / "zoo"


def test_files_of_somebody_else_stay(tmp_path: Path) -> None:
    own = tmp_path / FASHION.name / "README.md"
    own.parent.mkdir()
    own.write_text("mine")
    with pytest.raises(UsageError, match=r"holds README\.md, which `pimc zoo get` did not make"):
        get(FASHION, tmp_path)
    assert own.read_text() == "mine"
    assert get(FASHION, tmp_path, force=True).made


def test_what_was_cut_is_made_again(tmp_path: Path, monkeypatch) -> None:
    whole = get(FASHION, tmp_path / "whole").path("test.npz").read_bytes()

    @contextmanager
    def cut(path: Path) -> Iterator[BinaryIO]:
        if path.name == "test.npz":
            raise KeyboardInterrupt
        with replacing(path) as stream:
            yield stream

    with monkeypatch.context() as patch:
        patch.setattr(module, "replacing", cut)
        with pytest.raises(KeyboardInterrupt):
            get(FASHION, tmp_path)
    found = get(FASHION, tmp_path)
    assert found.made
    assert found.path("test.npz").read_bytes() == whole
