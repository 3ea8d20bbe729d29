"""Figures of steps in a table."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pimc.errors import UsageError
from pimc.project.metrics import CsvSink, Done, figures_of


def done(command: str = "eval", **figures: float) -> Done:
    return Done("2026-01-01T00:00:00+00:00", command, True, 1.5, figures)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_numbers_at_the_top_and_means_of_lists() -> None:
    told = {
        "a": 1, "b": 0.5, "ok": True, "name": "x", "none": None, "deep": {"x": 1},
        "each": [1.0, None, 2.0], "names": ["x"], "empty": [], "mixed": [1, "x"],
    }  # fmt: skip
    assert figures_of(told) == {"a": 1.0, "b": 0.5, "ok": 1.0, "each": 1.5}


def test_of_an_interval_the_ends_are_figures() -> None:
    told = {"accuracy_interval_95": [0.25, None], "loss_interval_95": [1.0, 2.0]}
    assert figures_of(told) == {
        "accuracy_interval_95_low": 0.25, "loss_interval_95_low": 1.0, "loss_interval_95_high": 2.0,
    }  # fmt: skip


def test_a_row_a_step_and_new_columns_for_all(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "m.csv"
    CsvSink(path).log(done(a=1.0))
    CsvSink(path).log(done("recover", b=0.25))
    first, second = rows(path)
    assert list(first) == ["time", "command", "ok", "seconds", "a", "b"]
    assert (first["a"], first["b"], first["ok"]) == ("1", "", "True")
    assert (second["command"], second["a"], second["b"]) == ("recover", "", "0.25")
    assert second["seconds"] == "1.5"


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "time,command,ok,seconds\n1,2,3\n", "\x80"])
def test_another_file_is_not_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match="cannot be read as a table of metrics"):
        CsvSink(path).log(done())
    assert path.read_bytes() == text.encode("latin-1")
