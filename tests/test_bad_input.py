"""What a user can do wrong, at the real command line.

Each ends in one clear sentence and the right exit code, without a traceback or a half-written file.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "fashion"
PIMC = Path(sys.executable).with_name("pimc")
CHIP = """
schema = 1
name = "mine"
[array]
rows = 128
cols = 128
[cell]
levels = 16
g_mn_us = 2.0
g_max_us = 40.0
[cell.sigma]
kind = "constant"
fraction_of_range = 0.05
"""


def run(
    folder: Path, *arguments: object, preexec_fn: Callable[[], object] | None = None
) -> subprocess.CompletedProcess[str]:
    """One command in a fresh process in ``folder``."""
    command = [str(PIMC), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        preexec_fn=preexec_fn,
    )


def refused(folder: Path, exit_code: int, words: tuple[str, ...], *arguments: object) -> None:
    """The command ends with ``exit_code``, says ``words``, and changes nothing in ``folder``."""
    before = state(folder)
    done = run(folder, *arguments)
    assert done.returncode == exit_code, done.stderr
    assert done.stdout == ""
    error, *rest = done.stderr.strip().splitlines()
    assert error.startswith("error: ")
    assert all(line.startswith("  ") for line in rest)
    assert "Traceback" not in done.stderr
    assert [word for word in words if word not in done.stderr] == []
    assert state(folder) == before


def state(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its content; also hidden and temporary ones."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path, compiled: bytes) -> Path:
    """The shipped model, some calibration data and an image."""
    (tmp_path / "model.onnx").write_bytes((SHIPPED / "resnet8.onnx").read_bytes())
    (tmp_path / "model.pimc").write_bytes(compiled)
    return tmp_path


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("compiled")
    assert run(folder, "compile", SHIPPED / "resnet8.onnx", "-o", "model.pimc").returncode == 0
    return (folder / "model.pimc").read_bytes()


def test_not_an_onnx_file(folder: Path) -> None:
    (folder / "notes.onnx").write_text("these are my notes\n")
    refused(folder, 2, ("notes.onnx",), "compile", "notes.onnx")


def test_truncated_onnx(folder: Path) -> None:
    whole = (folder / "model.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    refused(folder, 2, ("cut.onnx",), "compile", "cut.onnx")


def test_unsupported_operators_are_all_named(folder: Path) -> None:
    nodes = [
        helper.make_node("Frobnicate", ["x"], ["a"], domain="com.example"),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Twiddle", ["b"], ["y"], domain="com.example"),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4]) for n in "xy"]
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    graph = helper.make_graph(nodes, "odd", ends[:1], ends[1:], [weight])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), folder / "odd.onnx")
    refused(folder, 2, ("Frobnicate", "Twiddle"), "compile", "odd.onnx")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((20, 3, 28, 28), np.float32), ("calib.npy", "(N, 3, 28, 28)", "(N, 1, 28, 28)")),
        (np.full((20, 1, 28, 28), np.nan, np.float32), ("calib.npy", "NaN")),
    ],
    ids=["shape", "nan"],
)
def test_calibration_data_that_cannot_be_used(
    folder: Path, values: np.ndarray, words: tuple[str, ...]
) -> None:
    np.save(folder / "calib.npy", values)
    refused(folder, 2, words, "compile", "model.onnx", "--calib", "calib.npy", "-o", "new.pimc")
    refused(folder, 2, words, "recover", "model.pimc", "--calib", "calib.npy")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_image_altered_by_one_byte(folder: Path, part: float) -> None:
    data = bytearray((folder / "model.pimc").read_bytes())
    data[int(part * len(data))] ^= 1
    (folder / "model.pimc").write_bytes(data)
    for command in ("info", "verify"):
        refused(folder, 2, ("model.pimc", "altered"), command, "model.pimc")


def test_chip_file_with_a_typo(folder: Path) -> None:
    (folder / "mine.toml").write_text(CHIP)
    words = ("mine.toml", "cell.g_mn_us", "g_min_us")
    refused(folder, 2, words, "compile", "model.onnx", "--chip", "mine.toml", "-o", "new.pimc")


def test_die_of_another_chip(folder: Path) -> None:
    assert run(folder, "compile", "model.onnx", "--levels", 8, "-o", "eight.pimc").returncode == 0
    assert run(folder, "program", "eight.pimc", "--die", "chip.die").returncode == 0
    np.save(folder / "x.npy", np.zeros((1, 1, 28, 28), np.float32))
    refused(folder, 3, ("chip",), "run", "model.pimc", "--die", "chip.die",
            "--input", "x.npy")  # fmt: skip
    refused(folder, 3, ("chip",), "program", "model.pimc", "--die", "chip.die")


def no_room() -> None:
    """Let no file grow beyond 20 kB, as on a disk that is all but full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


@pytest.mark.parametrize(
    "arguments",
    [
        ("compile", "model.onnx", "-o", "new.pimc"),
        ("compile", "model.onnx", "-o", "model.pimc"),
        ("program", "model.pimc", "--die", "new.die"),
    ],
    ids=["new", "over", "die"],
)
def test_full_disk(folder: Path, arguments: tuple[str, ...]) -> None:
    before = state(folder)
    done = run(folder, *arguments, preexec_fn=no_room)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    after = state(folder)
    assert {name: after[name] for name in before} == before
    assert not [name for name in after if name not in before and not name.endswith(".journal")]


def _heed_ctrl_c() -> None:
    """In the background of a shell, where tests may run, children ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted(
    folder: Path, ready: Callable[[], bool], *arguments: str, leaves: tuple[str, ...] = ()
) -> None:
    """Ctrl-C in the middle of a command: exit code 130, one word, nothing else left behind."""
    before = state(folder)
    process = subprocess.Popen(
        [str(PIMC), *arguments], cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, preexec_fn=_heed_ctrl_c,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None, "it was over before it could be interrupted"
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert stderr.strip().splitlines()[-1].startswith("error: interrupted")
    assert "Traceback" not in stderr
    after = state(folder)
    for pattern in leaves:
        left = [name for name in after if fnmatch(name, pattern)]
        assert left, pattern
        for name in left:
            assert after.pop(name), name
    assert after == before


def some_images(folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (512, 1, 28, 28)).astype(np.uint8)
    np.savez(folder / "calib.npz", x=images)


def test_ctrl_c_while_compiling(folder: Path) -> None:
    some_images(folder)
    dump = folder / "dump"
    # Once the network is cut up its layers are quantized, which takes longest.
    interrupted(
        folder, (dump / "02-partition" / "plan.json").exists,
        "compile", "model.onnx", "--calib", "calib.npz", "--dump-dir", "dump", "-o", "new.pimc",
    )  # fmt: skip


def test_ctrl_c_while_recovering(folder: Path) -> None:
    """Only what --resume goes on from is left."""
    some_images(folder)
    interrupted(
        folder, (folder / "new.recovery").exists,
        "recover", "model.pimc", "--calib", "calib.npz", "-o", "new.pimc",
        leaves=("new.recovery", "new.recovery.*.part"),
    )  # fmt: skip
