"""Every command's JSON is as its schema says, and the page lists the schemas."""

from __future__ import annotations

import re
from pathlib import Path

import click
import numpy as np
import onnx
import pytest

from pimc.cli.registry import commands
from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.schemas import load_schema, schema_names
from pimc.studies.evaluate import float_session

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
from tests.schemas import problems, strict  # noqa: E402  # needs it

PAGE = Path(__file__).parents[3] / "docs" / "projects.md"
#: Lines that run one after the other in a folder; ``!`` expects exit code 1, ``?`` 2.
LINES = """
init --seed 900
check
check model.onnx --digital w1
compile model.onnx --stop-after simplify
compile model.onnx --array 16x8 --explain -o nocalib.pimc
compile model.onnx --array 16x8 --chip neurram --calib data -o other.pimc
compile model.onnx --array 16x8 --calib data --max-drop 99 --try offset -o within.pimc
layouts model.onnx --array 16x8 --budget 8
layouts model.onnx --array 16x8 --calib data --try offset
info model.pimc
info nocalib.pimc --explain
verify model.pimc
program model.pimc --die chip.die
run model.pimc --input x.npy
eval model.pimc --data data --dies 2 --limit 8
! eval model.pimc --data data --dies 1 --limit 8 --min-accuracy 1
eval model.pimc --data reg --task regression --dies 1 --limit 8
eval model.pimc --data data --dies 1 --limit 4 --explain
compensate model.pimc
compensate model.drift.pimc --off
info model.drift.pimc
capture model.pimc --calib data --die chip.die
recover model.pimc --calib data --data data --die chip.die --rounds 1 --epochs 0
info model.r1.pimc
diff model.pimc model.r1.pimc -o cells.csv
diff model.pimc model.pimc
age 1d --die chip.die
recover model.pimc --calib reg --data reg --task regression --rounds 0 --epochs 0 -o reg.pimc
recover model.pimc --calib data --data data --dies 2 --strategy affine --max-drop 99 -o all.pimc
recover model.pimc --calib data --data data --dies 1 --compare --strategy none
recover --list-strategies
sweep model.onnx --calib data --data data --over levels=4,8 --dies 1 --limit 4
chips
chips ihp
chips neurram
chips import measured.csv
ops
devices
completion zsh
report model.pimc model.r1.report.json chip.die
zoo
zoo list
zoo get fashion-resnet8 --folder zoo
zoo run fashion-resnet8 --folder zoo --dies 0 --limit 8 --calib-limit 16
? info no.pimc
? compile
? eval model.pimc
""".strip().splitlines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model, tiny_image: Image, tiny_inputs) -> Path:
    """What the lines speak of."""
    made: Path = tmp_path_factory.mktemp("schemas")
    ages = {"log_shift_us": -0.02, "log_sigma_us": 0.01, "sigma_1s_us": 0.05, "kind": "log"}
    retention = {f"retention.{key}": value for key, value in ages.items()}
    image = tiny_image.with_chip(tiny_image.chip.with_(**retention))
    onnx.save(tiny_model(), made / "model.onnx")
    image.save(made / "model.pimc")
    inputs = tiny_inputs[:32]
    scores = float_session(image).run(None, {"x": inputs})[0]
    for place, targets in (("data", scores.argmax(axis=1)), ("reg", scores)):
        (made / place).mkdir()
        for name in ("calib", "test"):
            np.savez(made / place / f"{name}.npz", x=inputs, y=targets)
    np.save(made / "x.npy", inputs[:4])
    (made / "measured.csv").write_text("level,mean_us,sigma_us\n0,2,0.2\n1,20,0.8\n2,40,0.9\n")
    return made


def name_of(words: list[str]) -> str:
    """The schema of a line."""
    if words[0] == "zoo":
        return f"zoo-{words[1] if len(words) > 1 else 'list'}"
    return "chips-import" if words[:2] == ["chips", "import"] else words[0]


def test_every_command_prints_what_its_schema_says(pimc, folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    seen, wrong = set(), {}
    for line in LINES:
        code = {"!": 1, "?": 2}.get(line[0], 0)
        words = line.lstrip("!? ").split()
        in_project = words[0] in ("init", "check", "report")
        done = pimc(*words, *([] if in_project else ["--project", "-"]), "--json")
        assert done.code == code, f"{line}\n{done.err}"
        name = "error" if code == 2 else name_of(words)
        seen.add(name)
        if found := problems(name, done.json):
            wrong[line] = found
    assert wrong == {}
    assert seen == set(schema_names())


def test_there_is_one_for_every_command() -> None:
    single = {name for name, one in commands().items() if not isinstance(one.load(), click.Group)}
    below = {"chips", "chips-import", "zoo-get", "zoo-list", "zoo-run"}
    assert set(schema_names()) == {*single, *below, "error"}
    with pytest.raises(UsageError, match="did you mean eval"):
        load_schema("evl")


@pytest.mark.parametrize("name", schema_names())
def test_schemas_are_schemas_with_a_version(name: str) -> None:
    schema = load_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:pimc:schema:{name}:{schema['version']}"
    assert schema["title"]


def test_a_key_that_no_schema_knows_is_noticed() -> None:
    told = {"die": "a", "passed_s": 1.0, "clock_s": 1.0, "retention": "none"}
    assert problems("age", told) == []
    assert "surprise" in str(problems("age", {**told, "surprise": 1}))
    assert "is not of type" in str(problems("age", {**told, "clock_s": "1"}))
    assert "required" in str(problems("age", {"die": "a"}))
    assert strict({"type": "object", "properties": {}})["additionalProperties"] is False


def test_the_page_lists_them() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)\.json` \| `([^`]+)` \|", text, re.MULTILINE)
    assert dict(rows) == {name: load_schema(name)["$id"] for name in schema_names()}
