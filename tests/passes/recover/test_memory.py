"""What is recovered does not depend on the memory, and the memory is kept to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Recovery
from pimc.passes.recover.train.distill import DistillOptions
from pimc.passes.recover.watch import spill
from pimc.runtime.capture import CaptureOptions
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from pimc.work.memory import Memory

OPTIONS = RecoverOptions(
    rounds=1,
    budget=0.3,
    residual=0.05,
    capture=CaptureOptions(vectors=96, repeats=2, images=32),
    distill=DistillOptions(epochs=2),
)


@pytest.fixture(scope="module")
def image(tiny_model, tiny_inputs) -> Image:
    chip = Chip.default().with_array(64, 32).with_sigma(0.1)
    options = Options(feedback=False)
    return compile_model(tiny_model(), chip, calib=tiny_inputs, options=options)


def recovered(image: Image, memory: Memory | str) -> Recovery:
    device = SimDevice(Die.simulated(907), image.chip, image.arrays, read_seed=7)
    program(image, device)
    x = np.random.default_rng(3).standard_normal((96, 2, 8, 8)).astype(np.float32)
    return recover(image, device, Dataset.of(x), OPTIONS, memory=memory)


def test_the_result_is_the_same_under_any_budget(image, monkeypatch) -> None:
    """With all that waits in memory, and with all of it on the disk."""
    plenty, lay = recovered(image, Memory()), spill._written
    laid: list[int] = []
    monkeypatch.setattr(Memory, "require", lambda *arguments: None)
    monkeypatch.setattr(spill, "_SMALL_BYTES", 0)

    def counted(*given: Any) -> bool:
        laid.append(1)
        return lay(*given)

    monkeypatch.setattr(spill, "_written", counted)
    little = recovered(image, Memory(1))
    assert laid
    assert little.image.to_bytes() == plenty.image.to_bytes()
    np.testing.assert_array_equal(little.writes, plenty.writes)
    assert [stage.loss for stage in little.stages] == [stage.loss for stage in plenty.stages]


def test_too_little_is_refused_with_what_is_needed(image) -> None:
    with pytest.raises(UsageError) as caught:
        recovered(image, "32M")
    assert "32 MiB are too little" in caught.value.message
    assert caught.value.hint is not None
    needed = caught.value.hint.split()[2]
    assert recovered(image, f"{2 * int(needed.removesuffix('M'))}M").stages


#: Recovers a network whose layers give far more than its weights are, and tells its peak.
_WIDE = """
import sys
import numpy as np, torch
from onnx import TensorProto, helper, numpy_helper

torch.set_num_threads(1)
from pimc.api import Options, compile
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.train.distill import DistillOptions
from pimc.runtime.capture import CaptureOptions
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.work.memory import UNLIMITED, taken_bytes

rng, nodes, weights, last = np.random.default_rng(0), [], [], "x"
for number in range(12):
    shape = (8, 8 if number else 1, 3, 3)
    w = (rng.standard_normal(shape) / np.sqrt(shape[1] * 4)).astype(np.float32)
    weights.append(numpy_helper.from_array(w, f"w{number}"))
    nodes.append(helper.make_node("Conv", [last, f"w{number}"], [f"c{number}"], pads=[1] * 4))
    last = f"r{number}"
    nodes.append(helper.make_node("Relu", [f"c{number}"], [last]))
nodes.append(helper.make_node("GlobalAveragePool", [last], ["p"]))
nodes.append(helper.make_node("Flatten", ["p"], ["y"]))
graph = helper.make_graph(
    nodes, "wide", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 56, 56])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])], weights,
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
x = rng.standard_normal((80, 1, 56, 56)).astype(np.float32)
image = compile(model, Chip.default(), calib=x[:16], options=Options(feedback=False))
device = Session(image, die=Die.simulated(903)).device
options = RecoverOptions(
    rounds=0, cost_images=0, holdout=0.2, calibrate_images=16,
    capture=CaptureOptions(vectors=32, repeats=2, images=16), distill=DistillOptions(epochs=1),
)
before = taken_bytes()
found = recover(image, device, Dataset.of(x), options,
                memory=before + (int(sys.argv[1]) << 20) if int(sys.argv[1]) else UNLIMITED)
found.image.save(sys.argv[2])
# What getrusage tells begins with the peak of the process that started this one.
(peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print((int(peak.split()[1]) * 1024 - before) >> 20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells peaks in /proc")
def test_a_wide_network_stays_within_its_budget(tmp_path: Path) -> None:
    """Peaks beside what the process holds anyhow, MiB, with a budget and without."""
    (tmp_path / "wide.py").write_text(_WIDE)

    def peak(allowed: int) -> int:
        words = [sys.executable, "wide.py", str(allowed), f"{allowed}.pimc"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    peak(0)  # Numba compiles what it has to; the process holds more than what is asked for then
    free, bound = peak(0), peak(400)
    assert (tmp_path / "0.pimc").read_bytes() == (tmp_path / "400.pimc").read_bytes()
    assert bound <= 400
    assert free > 450
