"""The demo's command line: bad options and an interrupt end in one sentence."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(MODELS)
    return importlib.import_module("demo")


def test_out_that_is_a_file(
    demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    assert demo.main(["--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert (tmp_path / "out").read_bytes() == b"mine"


@pytest.mark.parametrize("dies", ["0", "-1"])
def test_no_die(
    demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], dies: str
) -> None:
    with pytest.raises(SystemExit) as refused:
        demo.main(["--out", str(tmp_path / "out"), "--dies", dies])
    assert refused.value.code == 2
    assert "--dies must be 1 or more" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_interrupt(
    demo: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pimc.data.dataset.load_data", interrupted)
    assert demo.main(["--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "interrupted\n"
