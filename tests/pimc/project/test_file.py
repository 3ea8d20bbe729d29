"""What a project file says, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pimc.errors import UsageError
from pimc.project.file import NO_PROJECT, find_project, read_project

COMMANDS = ("compile", "recover", "eval")


def read(text: str):
    Path("pimc.toml").write_text(text)
    return read_project(Path("pimc.toml"), COMMANDS)


def test_what_it_says(here: Path) -> None:
    found = read('model = "nets/tiny.onnx"\nseed = 7\n[recover]\nbudget = 5\n')
    assert found.shared.given == {"model": "nets/tiny.onnx", "seed": 7}
    assert found.tables == {"recover": {"budget": 5}}
    assert found.image == "tiny.pimc"
    assert read('image = "a.pimc"').image == "a.pimc"
    assert read("").image is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('modle = "x"', "modle: unknown key (did you mean model?)"),
        ("[recver]\nbudget = 1", "[recver]: no command with a table (did you mean recover?)"),
        ("seed = -1", "seed: must be a whole number, 0 or more, not -1"),
        ("[model]\nx = 1", "model: must be a value, not a table"),
        ('seed = 0\nmodel = "x\n', "line 2"),
    ],
)
def test_what_is_wrong_is_told_with_the_place(here: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert told in caught.value.message
    assert caught.value.where == "pimc.toml"


def test_all_problems_are_told_at_once(here: Path) -> None:
    with pytest.raises(UsageError, match=r"modle.*recver"):
        read("modle = 1\n[recver]\n")


def test_where_it_is_looked_for(here: Path) -> None:
    assert find_project(None) is None
    (here / "sub").mkdir()
    (here / "sub" / "pimc.toml").write_text("")
    assert find_project("sub") == find_project("sub/pimc.toml") == Path("sub/pimc.toml")
    (here / "pimc.toml").write_text("")
    assert find_project(None) == Path("pimc.toml")
    assert find_project(NO_PROJECT) is None
    with pytest.raises(UsageError, match="no such project file"):
        find_project("other.toml")
