"""Man pages are made of what ``--help`` is made of, and read as such."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from pimc.cli.manpages import man_pages, write_man_pages
from pimc.cli.registry import commands

PAGES = man_pages()


def test_every_command_has_a_page_and_the_first_lists_them() -> None:
    assert {f"pimc-{name}.1" for name in commands()} | {"pimc.1", "pimc-chips-import.1"} <= set(
        PAGES
    )
    for name, entry in commands().items():
        assert f"pimc\\-{name}(1)" in PAGES["pimc.1"]
        example = (entry.load().epilog or "").rpartition("\n")[2].strip()
        assert example.replace("-", "\\-") in PAGES[f"pimc-{name}.1"]


def test_a_part_of_a_command_says_what_it_does_itself() -> None:
    assert "pimc\\-zoo\\-run - Measure a network of the zoo" in PAGES["pimc-zoo-run.1"]


def test_every_option_is_on_its_page() -> None:
    for name, entry in commands().items():
        for parameter in entry.load().params:
            for flag in parameter.opts if parameter.param_type_name == "option" else ():
                assert flag.replace("-", "\\-") in PAGES[f"pimc-{name}.1"]


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_reads_them_without_a_warning(tmp_path) -> None:
    paths = write_man_pages(tmp_path)
    assert len(paths) == len(PAGES)
    command = ["groff", "-man", "-K", "utf8", "-T", "utf8", "-ww", "-z", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
