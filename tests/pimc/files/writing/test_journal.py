"""A journal's lines: whole ones count, and what is none is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pimc.files.writing.journal import append_line, entries_of, whole_lines


def test_entries_come_back(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with path.open("wb") as stream:
        append_line(stream, {"a": 1})
        append_line(stream, {"b": "ü\r\n"})
    assert entries_of(path) == [{"a": 1}, {"b": "ü\r\n"}]


def test_a_line_cut_short_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"a": 1}\n{"b"')
    assert entries_of(path) == [{"a": 1}]


def test_lines_end_with_a_line_feed_and_nothing_else(tmp_path: Path) -> None:
    """What was written up to there is gone on from: its length must be right."""
    path = tmp_path / "journal"
    path.write_bytes(b'{"a":\r1}\n{"b"')
    assert whole_lines(path) == [b'{"a":\r1}\n']


@pytest.mark.parametrize(
    "line", [b"[" * 100_000 + b"]" * 100_000, b"[1]", b"3", b"{", b"\xff", b'{"a": ' + b"9" * 5000]
)
def test_what_is_no_entry_is_a_value_error(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(line + b"\n")
    with pytest.raises(ValueError, match=r".+"):
        entries_of(path)
