"""The file of a sweep."""

from __future__ import annotations

import json
import sys

import pyarrow.parquet
import pytest

from pimc.errors import UsageError
from pimc.studies.sweep_table import (
    COLUMNS,
    IDENTITY,
    key_of,
    parameters_of,
    read_rows,
    recording,
    require_same,
    require_suffix,
    write_rows,
)


def row(point: str = "p", **values) -> dict:
    """A row with something in every column."""
    filled = {
        float: 0.1 + 0.2,
        int: 3,
        str: 'text, with "quotes"\nand lines',
        list: [1 / 3, 0.5],
    }
    columns = {name: filled[kind] for name, kind in COLUMNS.items()}
    return {**values, **columns, "point_sha256": point}


def failed(**values) -> dict:
    """A row of a point that could not be compiled."""
    empty: dict = {
        name: [] if kind is list else "" if kind is str else None for name, kind in COLUMNS.items()
    }
    return {**values, **empty, "error": "too small", "dies": 3, "seed": 0, "age_s": 0.0}


@pytest.fixture(params=["a.csv", "a.parquet"])
def path(request, tmp_path):
    """A file that does not exist yet."""
    return tmp_path / request.param


def test_rows_come_back_as_they_were(path) -> None:
    rows = [row("p", levels=8, sigma=0.05), row("q", levels=16, array="64x64"), failed(levels=1)]
    assert read_rows(path) == []
    write_rows(path, rows)
    again = read_rows(path)
    for ours, theirs in zip(again, rows, strict=True):
        assert {n: v for n, v in ours.items() if v is not None} == {
            n: v for n, v in theirs.items() if v is not None
        }
    first = path.read_bytes()
    write_rows(path, again)
    assert path.read_bytes() == first


def test_parquet_has_numbers_where_there_are_only_numbers(tmp_path) -> None:
    path = tmp_path / "a.parquet"
    write_rows(path, [row("p", a=1, b=1, c=1), row("q", a=2, b=0.5, c="64x64")])
    columns = pyarrow.parquet.read_table(path).to_pydict()
    assert (columns["a"], columns["b"], columns["c"]) == ([1, 2], [1.0, 0.5], ["1", "64x64"])
    assert columns["accuracy_per_die"] == [[1 / 3, 0.5]] * 2
    assert [parameters_of(r)["c"] for r in read_rows(path)] == [1, "64x64"]


def test_the_journal_belongs_to_the_file(path) -> None:
    write_rows(path, [row("p", levels=8)])
    with recording(path) as note:
        note(row("q", levels=16))
    assert [r["levels"] for r in read_rows(path)] == [8, 16]
    journal = path.with_name(f"{path.name}.journal")
    with journal.open("ab") as stream:
        stream.write(b'{"levels": 3')  # what a crash may leave
    assert [r["levels"] for r in read_rows(path)] == [8, 16]
    with recording(path) as note:
        note(row("r", levels=32))
    rows = read_rows(path)
    assert [r["levels"] for r in rows] == [8, 16, 32]
    assert journal.read_bytes().count(b"\n") == 2
    write_rows(path, rows)
    assert not journal.exists()
    assert read_rows(path) == rows


def test_rows_are_told_apart_by_chip_dies_and_seed() -> None:
    assert key_of(row("p", levels=8)) == key_of(row("p", cell=1))
    assert key_of(row("p")) != key_of(row("q"))
    for column, other in [("seed", 4), ("dies", 4), ("age_s", 60.0), ("ir_drop", "exact")]:
        assert key_of(row("p")) != key_of({**row("p"), column: other})
    assert key_of(failed(levels=1)) != key_of(failed(levels=0))


@pytest.mark.parametrize("column", list(IDENTITY))
def test_rows_of_another_model_chip_or_data_are_refused(path, column) -> None:
    rows = [row("p"), row("q")]
    require_same(path, rows, row())
    with pytest.raises(UsageError, match=f"with another {IDENTITY[column]}"):
        require_same(path, rows, {**row(), column: "other"})


def test_foreign_and_damaged_files_are_refused(path) -> None:
    for content in (b"a,b\n1,2\n", b"\xff\xfe\x00", b"PAR1", b""):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="is not the file of a sweep"):
            read_rows(path)
        path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match="is not the file of a sweep"):
        read_rows(path)


@pytest.mark.parametrize("line", ["no json", "[1, 2]", '{"levels": 8}', json.dumps("text")])
def test_a_damaged_journal_is_refused(path, line) -> None:
    path.with_name(f"{path.name}.journal").write_text(f"{line}\n")
    with pytest.raises(UsageError, match="is not the file of a sweep"):
        read_rows(path)


def test_names_of_files(tmp_path, monkeypatch) -> None:
    require_suffix(tmp_path / "a.csv")
    require_suffix(tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=r"neither .csv nor .parquet"):
        require_suffix(tmp_path / "a.xlsx")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(
        UsageError, match=r"needs the package pyarrow \(pip install 'pimc\[parquet\]'"
    ):
        require_suffix(tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="cannot be written"), recording(tmp_path / "no" / "a.csv"):
        pass
