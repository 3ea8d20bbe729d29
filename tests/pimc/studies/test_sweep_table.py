"""The file of a sweep."""

from __future__ import annotations

import contextlib
import json
import sys

import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("accuracy_mean", "good", "must be a number, 0 to 1"),
        ("accuracy_mean", 7.0, "must be a number, 0 to 1"),
        ("accuracy_mean", float("nan"), "must be a number, 0 to 1"),
        ("accuracy_per_die", [0.5, 2.0], "must be a list of numbers, 0 to 1"),
        ("arrays", 1.5, "must be a whole number, 0 or more"),
        ("arrays", -1, "must be a whole number, 0 or more"),
        ("dies", 0, "must be a whole number, 1 or more"),
        ("seed", "x", "must be a whole number"),
        ("seed", None, "must be a whole number"),
        ("energy_pj", float("inf"), "must be a number, 0 or more"),
        ("age_s", -1.0, "must be a number, 0 or more"),
        ("levels", float("nan"), "must be one value"),
    ],
)
@pytest.mark.parametrize("where", ["file", "journal"])
def test_a_column_that_holds_what_it_cannot_is_named(
    tmp_path, monkeypatch, where, column, value, problem
) -> None:
    path = tmp_path / "a.csv"
    write_rows(path, [row("p", levels=8)])
    wrong = {**row("q", levels=8), column: value}
    if where == "file":
        write_rows(path, [row("p", levels=8), wrong])
    else:
        with recording(path) as note:
            note(wrong)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=f"row 2: {column}: {problem}") as caught:
        read_rows(path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("value", [[1], {"a": 1}])
def test_a_parameter_is_one_value(tmp_path, value) -> None:
    with recording(tmp_path / "a.csv") as note:
        note(row("q", levels=value))
    with pytest.raises(UsageError, match="row 1: levels: must be one value"):
        read_rows(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("name", "value"), [("arrays", "three"), ("dies", 2.5), ("error", 7), ("seed", None)]
)
def test_columns_of_another_type_are_refused(tmp_path, name, value) -> None:
    """Of a table that another tool wrote."""
    path = tmp_path / "a.parquet"
    columns = {key: [held] for key, held in row("p").items()} | {name: [value]}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(UsageError, match=f"row 1: {name}: must be"):
        read_rows(path)


@given(st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_bytes_of_a_table_that_were_changed(tmp_path_factory, data: st.DataObject) -> None:
    """Whatever becomes of a table, it is read or refused in one sentence."""
    folder = tmp_path_factory.mktemp("table")
    for name in ("a.csv", "a.parquet"):
        path = folder / name
        write_rows(path, [row("p", levels=8), row("q", levels=16)])
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        with contextlib.suppress(UsageError):
            for found in read_rows(path):
                key_of(found)
