"""Messages on stderr: text for people, JSON lines for machines, and signs of life."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from pimc.cli.log import Log, begin, form_of
from pimc.cli.telling import beating, told_of
from pimc.progress import Beat, Loop


def events(text: str) -> list[dict]:
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert line.keys() == {"time", "level", "event", "command", "fields"}
    return lines


@pytest.mark.parametrize("before", [True, False])
def test_json_lines_tell_of_a_run(pimc, model: Path, before: bool) -> None:
    options = ["--log-format", "json"]
    words = ["compile", "tiny.onnx", "--seed", "900"]
    done = pimc(*options, *words) if before else pimc(*words, *options)
    told = events(done.err)
    names = ["started", "waiting", "note", "written", "finished"]
    assert [line["event"] for line in told] == names
    assert {line["command"] for line in told} == {"compile"}
    begun, _, noted, written, ended = (line["fields"] for line in told)
    assert begun["model"] == "tiny.onnx"
    assert written["bytes"] == Path("tiny.pimc").stat().st_size
    assert ended["exit_code"] == 0
    assert noted["message"].startswith("note: compiled without --calib")
    assert "arrays" in done.out


def test_failures_are_json_lines_too(pimc, here: Path) -> None:
    for words in (["compile", "no.onnx"], ["compile"], ["--json", "nothing"], ["info", "--no"]):
        done = pimc("--log-format=json", *words)
        (last,) = [line for line in events(done.err) if line["event"] == "failed"]
        assert done.code == 2
        assert last["level"] == "error"
        assert last["fields"]["exit_code"] == 2
        assert last["fields"]["message"]


def test_quiet_leaves_warnings_and_errors(pimc, model: Path) -> None:
    assert pimc("compile", "tiny.onnx", "-q", "--log-format", "json").err == ""
    assert len(events(pimc("info", "no.pimc", "-q", "--log-format", "json").err)) == 1


def test_verbose_tells_people_more(pimc, model: Path) -> None:
    plain, verbose = pimc("compile", "tiny.onnx"), pimc("compile", "tiny.onnx", "-v")
    assert "compile: written tiny.pimc, " in verbose.err
    assert "compile: model tiny.onnx" in verbose.err
    assert "written" not in plain.err


def test_a_format_that_there_is_not(pimc, here: Path) -> None:
    assert pimc("--log-format", "xml", "ops").code == 2
    assert pimc("ops", "--log-format", "xml").code == 2
    assert form_of(["ops", "--log-format"]) == form_of([]) == "text"


def test_where_there_is_no_terminal_lines_tell_how_far_work_is(monkeypatch, capsys) -> None:
    monkeypatch.setenv("PIMC_LOG_EVERY", "0.05")
    wanted, said, start = "s, dies 1 of 2, samples 1\n", "", time.monotonic()
    with told_of(begin(Log("recover")), {}, bars=False) as ended:
        report = beating()
        assert report is not None
        for die in report(range(2), "dies"):
            for sample in report(iter(range(3)), "samples"):
                while (die, sample) == (1, 1) and wanted not in said:
                    said += capsys.readouterr().err
                    assert time.monotonic() < start + 60
                    time.sleep(0.01)
        ended.append(0)
    lines = (said + capsys.readouterr().err).splitlines()
    assert beating() is None
    assert all(line.startswith("recover: ") for line in lines)
    assert len(lines) <= (time.monotonic() - start) / 0.05 + 1


def test_nothing_is_told_where_it_is_quiet_or_bars_are_shown(monkeypatch, capsys) -> None:
    monkeypatch.setenv("PIMC_LOG_EVERY", "0.01")
    for log, bars in ((Log("a", least="warning"), False), (Log("a"), True)):
        with told_of(begin(log), {}, bars=bars) as ended:
            assert beating() is None
            time.sleep(0.05)
            ended.append(0)
    assert capsys.readouterr().err == ""


def test_a_loop_that_is_left_is_told_no_more() -> None:
    told: list[tuple[str, ...]] = []
    beat = Beat(lambda loops, seconds: told.append(tuple(map(str, loops))))
    steps = iter(beat.track(range(1500), "samples"))
    next(steps)
    next(steps)
    assert list(map(str, beat._loops)) == ["samples 1 of 1,500"]
    assert isinstance(steps, Generator)
    steps.close()
    assert beat._loops == []
    assert str(Loop("dies", None, 3)) == "dies 3"


def test_short_work_says_nothing(monkeypatch, capsys) -> None:
    monkeypatch.delenv("PIMC_LOG_EVERY", raising=False)
    with told_of(begin(Log("eval")), {"seed": 1}, bars=False) as ended:
        ended.append(0)
    assert capsys.readouterr().err == ""
