"""``pimc report``: the page is written, and told of; what cannot be shown is refused."""

from __future__ import annotations

from pathlib import Path


def test_a_page_is_written_and_told_of(pimc, model) -> None:
    assert pimc("compile", "tiny.onnx", "--calib", "calib.npz").code == 0
    done = pimc("report", "tiny.pimc", "--json")
    page = Path("report.html")
    assert done.code == 0
    assert done.json == {
        "output": "report.html",
        "title": "tiny.pimc",
        "bytes": page.stat().st_size,
        "chapters": [{"what": "image", "title": "tiny.pimc"}],
    }
    before = page.read_bytes()
    done = pimc("report", "tiny.pimc")
    assert done.out.startswith("written  report.html, ")
    assert page.read_bytes() == before
    assert pimc("report", ".", "--title", "All <of> it", "-o", "all.html", "-q").out == ""
    assert "<title>All &lt;of&gt; it</title>" in Path("all.html").read_text(encoding="utf-8")


def test_what_a_report_does_not_show_is_called_by_its_name(pimc, model) -> None:
    done = pimc("report", "calib.npz")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: calib.npz: this is an .npz file of arrays")
    assert pimc("report").code == 2
    assert not Path("report.html").exists()


def test_a_folder_that_is_missing_is_told_before_work(pimc, model) -> None:
    done = pimc("report", "tiny.onnx", "-o", "nowhere/report.html")
    assert "there is no such folder" in done.err


def test_a_page_takes_the_place_of_no_other_kind_of_file(pimc, tiny_image, here) -> None:
    tiny_image.save("tiny.pimc")
    before = Path("tiny.pimc").read_bytes()
    done = pimc("report", "tiny.pimc", "-o", "tiny.pimc")
    assert done.code == 2
    assert "tiny.pimc: a page is called .html" in done.err
    assert Path("tiny.pimc").read_bytes() == before


def test_a_mistyped_file_is_met_with_the_nearest(pimc, tiny_image, here) -> None:
    tiny_image.save("tiny.pimc")
    assert "no such file (did you mean tiny.pimc?)" in pimc("report", "tiny.pimic").err
