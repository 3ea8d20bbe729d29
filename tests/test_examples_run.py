"""What lies in examples/ runs: Makefile, stages of DVC, workflow, service, Dockerfile."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pimc.cli.registry import commands
from pimc.image.image import Image
from pimc.project.file import read_project
from pimc.studies.evaluate import float_session

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
#: Instructions of a Dockerfile.
INSTRUCTIONS = {"FROM", "WORKDIR", "RUN", "COPY", "EXPOSE", "CMD", "ENV", "ARG", "USER"}


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A line of a shell in a folder; it must end well."""
    found = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euc", line],
        cwd=folder,
        env={**os.environ, "PATH": found},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model, tiny_image: Image, tiny_inputs) -> Path:
    """The project with a small network, everything in it made by ``make``."""
    made: Path = tmp_path_factory.mktemp("examples") / "project"
    shutil.copytree(EXAMPLES, made)
    quick = (made / "pimc.toml").read_text().replace("budget = 10", "rounds = 1\nepochs = 0")
    (made / "pimc.toml").write_text(quick)
    onnx.save(tiny_model(), made / "resnet8.onnx")
    (made / "data").mkdir()
    inputs = tiny_inputs[:32]
    labels = float_session(tiny_image).run(None, {"x": inputs})[0].argmax(axis=1)
    for name in ("calib", "test"):
        np.savez(made / "data" / f"{name}.npz", x=inputs, y=labels)
    (made / "data" / "data.toml").write_text("")
    first = shell("make", made)
    assert "up to date" not in first.stderr
    return made


def test_make_does_nothing_twice(folder: Path) -> None:
    again = shell("make", folder)
    assert again.stderr.count("is up to date") == 3
    assert "accuracy" in again.stdout


def test_stages_of_dvc(folder: Path) -> None:
    stages = yaml.safe_load((EXAMPLES / "dvc.yaml").read_text())["stages"]
    made: set[str] = set()
    later = {path for stage in stages.values() for path in stage.get("outs", [])}
    for name, stage in stages.items():
        assert stage.keys() <= {"cmd", "deps", "outs", "metrics"}, name
        for path in stage["deps"]:
            assert path in made or path not in later, f"{name} comes before {path}"
            assert (folder / path).exists(), f"{name} needs {path}"
        shell(stage["cmd"], folder)
        figures = {path for entry in stage.get("metrics", []) for path in entry}
        made |= {*stage.get("outs", []), *figures}
        assert all((folder / path).exists() for path in made)
        assert all(json.loads((folder / path).read_text()) for path in figures)


def test_the_workflow(folder: Path) -> None:
    workflow = yaml.safe_load((EXAMPLES / "github-actions.yml").read_text())
    (job,) = workflow["jobs"].values()
    lines = [step["run"] for step in job["steps"] if "run" in step]
    assert lines[0] == 'pip install "pimc[recover]"'
    assert all({"uses", "run"} & step.keys() for step in job["steps"])
    for line in [one for text in lines[1:] for one in text.splitlines()]:
        said = shell(line, folder).stderr.splitlines()
        assert "--log-format json" not in line or all(json.loads(told)["event"] for told in said)
    kept = [step["with"]["path"] for step in job["steps"] if "upload" in step.get("uses", "")]
    assert all((folder / path).exists() for path in kept[0].split())


def instructions() -> Iterator[tuple[str, str]]:
    """Instructions of the Dockerfile and what follows them."""
    text = (EXAMPLES / "Dockerfile").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            yield word, rest


def test_the_dockerfile(folder: Path) -> None:
    found = list(instructions())
    assert found[0][0] == "FROM"
    assert {word for word, _ in found} <= INSTRUCTIONS
    copied = [one for word, rest in found if word == "COPY" for one in rest.split()[:-1]]
    assert all((folder / path).exists() for path in copied)
    runs = [rest for word, rest in found if word == "RUN"]
    assert runs[0].startswith('pip install --no-cache-dir "pimc[recover]"')
    for line in runs[1:]:
        shell(line, folder)
    assert (folder / "chip.die").exists()
    (start,) = [json.loads(rest) for word, rest in found if word == "CMD"]
    assert start[:2] == ["uvicorn", "service:app"]


@pytest.fixture
def client(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Asks the service of the project."""
    pytest.importorskip("fastapi", reason="fastapi is not installed")
    testclient = pytest.importorskip("fastapi.testclient", reason="httpx2 is not installed")
    if not (folder / "chip.die").exists():
        shell("pimc program --die chip.die", folder)
    monkeypatch.chdir(folder)
    spec = importlib.util.spec_from_file_location("service", "service.py")
    assert spec is not None
    assert spec.loader is not None
    service = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "service", service)
    spec.loader.exec_module(service)
    with testclient.TestClient(service.app) as asked:
        yield asked


def test_the_service(client: Any, tiny_inputs: np.ndarray) -> None:
    assert client.get("/health").json()["image"] == "resnet8.pimc"
    samples = tiny_inputs[:3].tolist()
    answers = [client.post("/run", json={"inputs": samples}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    told = answers[0].json()
    assert np.asarray(told["outputs"]).shape == (3, 4)
    assert told["classes"] == np.argmax(told["outputs"], axis=1).tolist()
    refused = client.post("/run", json={"inputs": [[1.0, 2.0], [3.0]]})
    assert refused.status_code == 422
    wrong = client.post("/run", json={"inputs": [[1.0, 2.0]]})
    assert wrong.status_code == 422
    assert wrong.json()["detail"]


def test_the_readme_lists_what_is_there() -> None:
    text = (EXAMPLES / "README.md").read_text()
    listed = set(re.findall(r"^\| \[[^\]]+\]\(([^)]+)\)", text, re.MULTILINE))
    assert listed == {one.name for one in EXAMPLES.iterdir()} - {"README.md"}
    (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    root = EXAMPLES.parent
    copies = [shlex.split(line)[1:-1] for line in block.splitlines() if line.startswith("cp ")]
    assert all((root / path).exists() for line in copies for path in line)


def test_makefile_and_project_agree() -> None:
    project = read_project(EXAMPLES / "pimc.toml", commands())
    used = set(re.findall(r"\$\(PIMC\) (\w+)", (EXAMPLES / "Makefile").read_text()))
    assert used == set(project.tables)
