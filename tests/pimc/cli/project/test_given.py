"""Values of pimc.toml reach the commands, and give way to the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pimc.cli.main import _pimc
from pimc.cli.project.keys import COMMON, DIES, NEVER, OUTPUTS, RIVALS, SHARED, STEPS
from pimc.cli.registry import commands
from pimc.project.file import Shared


def say(text: str) -> None:
    Path("pimc.toml").write_text(text)


#: Commands and keys whose parameters take several values.
SEVERAL = {("recover", "die"), ("report", "image")}
PROJECT = 'model = "tiny.onnx"\nchip = "ihp"\nseed = 901\n'


def test_options_come_from_the_file_and_are_told(pimc, model: Path) -> None:
    say(PROJECT)
    done = pimc("layouts", "--json")
    assert done.code == 0, done.err
    assert (done.json["model"], done.json["chip"]) == ("tiny.onnx", "ihp")
    assert done.json["project"] == {
        "file": "pimc.toml",
        "options": {"--seed": "901", "model": "tiny.onnx", "--chip": "ihp"},
        "up_to_date": False,
    }
    assert (
        "pimc.toml: --seed 901  model tiny.onnx  --chip ihp"
        in pimc("check").out + pimc("layouts").out
    )


def test_the_command_line_overrides(pimc, model: Path) -> None:
    say(PROJECT + '[layouts]\narray = "64x64"\n')
    done = pimc("layouts", "--chip", "taox", "--json")
    assert done.json["chip"] == "taox"
    assert done.json["project"]["options"].keys() == {"--seed", "model", "--array"}


def test_without_a_project(pimc, model: Path) -> None:
    say(PROJECT)
    done = pimc("layouts", "--project", "-")
    assert done.code == 2
    assert "Missing argument 'MODEL'" in done.err


def test_paths_are_relative_to_the_file(pimc, model: Path, monkeypatch) -> None:
    say('model = "tiny.onnx"\n[compile]\nfaults = ["f.csv"]\n')
    (model / "sub").mkdir()
    monkeypatch.chdir(model / "sub")
    assert pimc("check", "--project", "..").code == 0
    done = pimc("compile", "--project", "../pimc.toml")
    assert done.code == 2
    assert "../f.csv" in done.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[layouts]\nbugdet = 1", "layouts.bugdet: no such option (did you mean budget?)"),
        ("[layouts]\njson = true", "layouts.json: no such option"),
        ('[layouts]\nbudget = "many"', "budget: 'many' is not a valid integer"),
        ("[layouts]\nbudget = true", "layouts.budget: must be a value, not True"),
        ("[layouts]\narray-only = 1", "layouts.array-only: must be true or false, not 1"),
        ("[layouts]\nset = [[1]]", "layouts.set: must be a list of values, not [[1]]"),
    ],
)
def test_what_a_table_says_wrong(pimc, model: Path, text: str, told: str) -> None:
    say(f"{PROJECT}{text}\n")
    done = pimc("layouts")
    assert done.code == 2
    assert told in done.err
    assert "pimc.toml" in done.err
    assert pimc("layouts", "--help").code == 0


def test_a_broken_file_keeps_nobody_from_help(pimc, model: Path) -> None:
    say("model = ")
    assert pimc("check", "--help").code == 0
    done = pimc("check")
    assert done.code == 2
    assert "not valid TOML" in done.err


def test_lists_are_options_that_are_given_again(pimc, model: Path) -> None:
    say(PROJECT + '[layouts]\nset = ["adc.bits=6", "cell.levels=4"]\n')
    done = pimc("layouts", "--json")
    assert done.code == 0, done.err
    assert done.json["project"]["options"]["--set"] == "adc.bits=6,cell.levels=4"


def test_another_model_gets_another_image(pimc, model: Path) -> None:
    say(PROJECT.replace('chip = "ihp"\n', "") + '[compile]\nstop-after = "simplify"\n')
    (model / "other.onnx").write_bytes((model / "tiny.onnx").read_bytes())
    say(PROJECT.replace("ihp", "generic-128"))
    done = pimc("compile", "other.onnx", "--json")
    assert done.json["output"] == "other.pimc"


@pytest.mark.parametrize("name", sorted(set(SHARED) - {"age", "run"}))
def test_no_options_are_needed(here: Path, name: str) -> None:
    say(
        'model = "m.onnx"\nchip = "ihp"\ncalib = "c"\ndata = "d"\ntask = "audio"\ndie = "x.die"\n'
        'device = "sim"\nseed = 9\n[sweep]\nover = ["levels=2,4", "sigma=0.1"]\n'
    )
    root = _pimc.make_context("pimc", [name])
    context = commands()[name].load().make_context(name, [], parent=root)
    assert context.params["seed"] == 9
    keys = {
        key: context.params[parameter]
        for parameter, key in SHARED[name].items()
        if key not in ("chip", "task", "device")
    }
    paths = {"model": "m.onnx", "image": "m.pimc", "calib": "c", "data": "d", "die": "x.die"}
    assert keys == {
        key: (Path(paths[key]),) if (name, key) in SEVERAL else Path(paths[key]) for key in keys
    }


def test_the_tables_name_parameters_that_there_are(called) -> None:
    keys = set(Shared.__dataclass_fields__)
    every = {name: one for group in commands() for name, one in called(group).items()}
    found = {name: {str(one.name) for one in command.params} for name, command in every.items()}
    for name, table in SHARED.items():
        assert table.keys() <= found[name], name
        assert set(table.values()) <= keys
    for name, rivals in RIVALS.items():
        assert {one for pair in rivals for half in pair for one in half} <= found[name], name
    assert set().union(*found.values()) >= NEVER | COMMON | OUTPUTS | DIES
    assert set(found) >= STEPS


@pytest.mark.parametrize(
    "words",
    [["completion", "bash"], ["chips", "ihp", "--toml"], ["zoo", "list", "--markdown"], ["ops"]],
    ids=" ".join,
)
def test_what_is_the_same_everywhere_takes_nothing_from_a_project(pimc, model, words) -> None:
    plain = pimc(*words)
    say(PROJECT)
    assert pimc(*words).out == plain.out
    say("model = ")
    assert pimc(*words).out == plain.out


def test_a_broken_file_can_be_replaced(pimc, model: Path) -> None:
    say("model = ")
    assert pimc("init", "--force").code == 0
    assert pimc("check").code == 0


def test_a_command_of_a_group_is_not_the_one_of_its_name(pimc, model: Path, called) -> None:
    say(PROJECT + '[run]\ninput = "x.npy"\n')
    assert "no such network" in pimc("zoo", "run", "nothing").err
    assert not any(one.name == "force" for one in called("zoo")["zoo run"].params)
    say(PROJECT + '[zoo]\nfolder = "zoo"\n')
    assert "[zoo]: no command with a table" in pimc("check").err


def test_a_report_is_of_the_image(pimc, tiny_image, here: Path) -> None:
    tiny_image.save("tiny.pimc")
    say('image = "tiny.pimc"\n[report]\ntitle = "Ours"\n')
    told = pimc("report", "--json").json
    assert (told["title"], told["chapters"][0]["title"]) == ("Ours", "tiny.pimc")
    assert told["project"]["options"] == {"what": "tiny.pimc", "--title": "Ours"}
