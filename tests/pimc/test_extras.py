"""What works where no extra is installed, and what is told where something does not."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pimc.extras import EXTRAS, MissingLibraryError, missing, require

ROOT = Path(__file__).parents[2]
FASHION = ROOT / "models" / "fashion"
MODEL = FASHION / "resnet8.onnx"
ALL = ("distributed", "jiwer", "pandas", "pyarrow", "pycocotools", "tokenizers", *EXTRAS)
#: Runs what follows as if these libraries were not installed.
WITHOUT = """
import sys
MISSING = sys.argv[1].split(",")
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""
COMMAND = WITHOUT + "sys.argv = ['pimc', *sys.argv[2:]]\nfrom pimc.cli import main\nmain()"


def without(code: str, libraries: tuple[str, ...], *words: object, cwd: Path) -> Any:
    command = [sys.executable, "-c", code, ",".join(libraries), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with an image that was compiled without any library of an extra."""
    found: Path = tmp_path_factory.mktemp("small")
    done = without(COMMAND, ALL, "compile", MODEL, "-q", "-o", "small.pimc", cwd=found)
    assert (done.returncode, done.stderr) == (0, "")
    return found


def test_an_image_is_the_same_wherever_it_was_compiled(folder) -> None:
    import pimc

    pimc.compile(MODEL).save(folder / "whole.pimc")
    assert (folder / "small.pimc").read_bytes() == (folder / "whole.pimc").read_bytes()


def test_an_image_with_calibration_data_is_the_same_wherever_it_was_compiled(folder) -> None:
    import pimc

    words = ("compile", MODEL, "--calib", FASHION, "-q", "-o", "calibrated.pimc")
    done = without(COMMAND, ALL, *words, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    data = pimc.load_data(FASHION, role="calib")
    pimc.compile(MODEL, calib=data).save(folder / "whole.pimc")
    assert (folder / "calibrated.pimc").read_bytes() == (folder / "whole.pimc").read_bytes()


def test_a_network_that_only_torch_runs_on_data_says_so(folder) -> None:
    layer = helper.make_node("MatMul", ["x", "w"], ["y"])
    curve = helper.make_node("Erf", ["y"], ["z"])
    last = helper.make_node("MatMul", ["z", "w"], ["out"])
    graph = helper.make_graph(
        [layer, curve, last],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 32])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 32])],
        [numpy_helper.from_array(np.eye(32, dtype=np.float32), "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), folder / "erf.onnx")
    np.savez(folder / "x.npz", x=np.ones((4, 32), np.float32))
    words = ("compile", "erf.onnx", "--calib", "x.npz", "-o", "erf.pimc", "--json")
    done = without(COMMAND, ALL, *words, cwd=folder)
    assert done.returncode == 2
    told = "calibration of a network with the operator Erf needs the package torch"
    assert told in json.loads(done.stdout)["error"]["message"]
    assert not (folder / "erf.pimc").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("info", "small.pimc"),
        ("diff", "small.pimc", "small.pimc"),
        ("check", MODEL),
        ("layouts", MODEL),
        ("chips",),
        ("devices",),
        ("zoo", "list"),
        ("--help",),
        ("recover", "--help"),
    ],
    ids=str,
)
def test_what_needs_no_extra_works_without_any(folder, words) -> None:
    done = without(COMMAND, ALL, *words, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_die_is_written_without_torch_as_with_it(folder) -> None:
    done = without(COMMAND, ALL, "program", "small.pimc", "--die", "small.die", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    import pimc

    pimc.program(folder / "small.pimc", folder / "whole.die")
    few, whole = (vars(pimc.Die.load(folder / f"{n}.die").cells) for n in ("small", "whole"))
    for name, value in few.items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)
    done = without(COMMAND, ALL, "age", "1d", "--die", "small.die", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "library", "extra"),
    [
        (("compile", MODEL, "--calib", FASHION, "--harden"), "torch", "recover"),
        (("compile", MODEL, "--calib", FASHION, "--learn-rounding"), "torch", "recover"),
        (("compile", MODEL, "--calib", FASHION, "--max-drop", "1"), "torch", "recover"),
        (("compile", MODEL, "--dump-dir", "dump"), "networkx", "dump"),
        (("layouts", MODEL, "--calib", FASHION), "torch", "recover"),
        (("verify", "small.pimc"), "torch", "recover"),
        (("run", "small.pimc", "--input", FASHION / "test.npz"), "torch", "recover"),
        (("eval", "small.pimc", "--data", FASHION), "torch", "recover"),
        (("sweep", MODEL, "--data", FASHION, "--over", "levels=8"), "torch", "recover"),
        (("capture", "small.pimc", "--calib", FASHION), "torch", "recover"),
        (("compensate", "small.pimc", "--calib", FASHION), "torch", "recover"),
        (("recover", "small.pimc", "--calib", FASHION), "torch", "recover"),
        (("ops",), "torch", "recover"),
        (("report", "small.pimc"), "pillow", "images"),
        (("zoo", "run", "digits-cnn"), "torch", "recover"),
        (("chips", "import", "none.csv"), "matplotlib", "pictures"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_what_needs_an_extra_names_it_before_any_work(folder, words, library, extra) -> None:
    before = sorted(path.name for path in folder.iterdir())
    done = without(COMMAND, ALL, *words, "--json", cwd=folder)
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert f"needs the package {library}, which is not installed" in error["message"]
    assert error["hint"] == f"pip install 'pimc[{extra}]'"
    assert sorted(path.name for path in folder.iterdir()) == before


def test_names_of_the_package_name_the_extra_too(folder) -> None:
    code = WITHOUT + (
        "import pimc\n"
        "image = pimc.Image.load('small.pimc')\n"
        "from pimc.api import Options\n"
        "data, learn = pimc.load_data(sys.argv[3]), Options(learn_rounding=True)\n"
        "pimc.Chip.default(), pimc.program(image, pimc.Die.simulated(900))\n"
        "for call in (lambda: pimc.Session, lambda: pimc.recover, lambda: pimc.evaluate,\n"
        "             lambda: pimc.compile(sys.argv[2], calib=data, options=learn)):\n"
        "    try: call()\n"
        "    except pimc.PimcError as error: print(error)\n"
    )
    done = without(code, ALL, MODEL, FASHION / "calib.npz", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.splitlines()
    assert len(told) == 4
    assert all("(pip install 'pimc[recover]')" in line for line in told)


def test_what_is_missing_is_told_of_failed_imports_of_extras_alone() -> None:
    assert missing(ModuleNotFoundError("no", name="elsewhere")) is None
    assert missing(ModuleNotFoundError("no", name="torch.nowhere")) is None  # torch is here
    assert missing(ValueError("no")) is None


def test_what_is_there_is_not_missed(monkeypatch) -> None:
    require("torch", what="this")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingLibraryError, match="this needs the package torch"):
        require("torch", what="this")


def test_every_extra_is_one_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = project["optional-dependencies"]
    assert set(EXTRAS.values()) <= set(names)
    lines = " ".join(line for extra in set(EXTRAS.values()) for line in names[extra])
    for module in set(EXTRAS) - {"llvmlite"}:  # which comes with numba
        assert f"{'pillow' if module == 'PIL' else module}>=" in lines
