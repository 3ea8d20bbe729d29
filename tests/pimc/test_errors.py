"""What a user reads of an error is fit to be read, whatever a file holds."""

from __future__ import annotations

from pimc.errors import UsageError, legible


def test_control_characters_are_told_not_obeyed() -> None:
    error = UsageError("holds \x1b[2Ja\0b\r", "a\x07.die", "not \x9b or \ud800")
    assert str(error) == r"a\x07.die: holds \x1b[2Ja\x00b\x0d (not \x9b or \xd800)"


def test_lines_of_a_list_stay_lines() -> None:
    assert legible("two:\n  a\n\tb") == "two:\n  a\n\tb"


def test_what_nobody_reads_to_its_end_is_cut() -> None:
    assert len(legible("no key " + "w" * 5000)) < 500
    assert len(legible("a b " * 5000)) <= 1001
    assert legible("/folder" * 80) == "/folder" * 80
