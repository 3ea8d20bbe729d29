"""Steps send their figures to the project's table, and where else they are wanted."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest


@pytest.fixture
def project(tiny_image, here: Path) -> Path:
    tiny_image.save("tiny.pimc")
    Path("pimc.toml").write_text('image = "tiny.pimc"\nmetrics = ["more.csv"]\n')
    return here


def rows(name: str) -> list[dict[str, str]]:
    with open(name, newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_row_a_step_that_was_done(pimc, project: Path) -> None:
    for _ in range(2):
        assert pimc("verify").code == 0
    assert pimc("info").code == 0
    (row,) = rows(".pimc/metrics.csv")
    assert (row["command"], row["ok"]) == ("verify", "True")
    assert float(row["max_abs_error"]) < 1e-3
    assert rows("more.csv") == [row]
    assert pimc("verify", "--force", "--metrics", "other.csv").code == 0
    assert len(rows(".pimc/metrics.csv")) == 2
    assert len(rows("more.csv")) == len(rows("other.csv")) == 1


def test_without_a_project(pimc, project: Path) -> None:
    assert pimc("verify", "tiny.pimc", "--project", "-", "--metrics", "m.csv").code == 0
    assert [row["command"] for row in rows("m.csv")] == ["verify"]
    assert not Path(".pimc").exists()


def test_a_missing_package_is_told_before_the_work(pimc, project: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    done = pimc("program", "--die", "a.die", "--metrics", "mlflow:runs")
    assert done.code == 2
    assert "pip install 'pimc[mlflow]'" in done.err
    assert not Path("a.die").exists()


def test_a_command_without_metrics_says_so(pimc, project: Path) -> None:
    done = pimc("info", "--metrics", "m.csv")
    assert done.code == 2
    assert "info has no metrics" in done.err


@pytest.mark.parametrize("name", ["m.csv", ".pimc/metrics.csv"])
def test_another_file_is_told_before_the_work(pimc, project: Path, name: str) -> None:
    Path(".pimc").mkdir()
    Path(name).write_text("a,b\n1,2\n")
    done = pimc("program", "--die", "a.die", *(["--metrics", name] if name == "m.csv" else []))
    assert done.code == 2
    assert f"{name}: cannot be read as a table of metrics" in done.err
    assert not Path("a.die").exists()
