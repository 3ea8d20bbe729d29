"""Models exported for a fixed number of samples, at the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from pimc import api
from pimc.data.dataset import Dataset
from pimc.errors import UsageError
from pimc.passes.graph import frontend
from pimc.runtime.session import Session
from pimc.studies.evaluate import accuracy


def exported(batch: int, *, token: bool = False) -> onnx.ModelProto:
    """As torch exports with an example input: every shape fixed, ``view`` a constant.

    ``token`` joins a learnt token to every sample, which leaves no proof.
    """
    rng = np.random.default_rng(0)
    length = 5 if token else 4
    values = {
        "w": rng.standard_normal((3, 2, 3, 3)) / 4,
        "b": rng.standard_normal(3),
        "fc": rng.standard_normal((5, 3 * length * 4)) / 6,
        "offset": rng.standard_normal(5),
        "shape": np.array([batch, -1]),
        "token": np.zeros((batch, 3, 1, 4)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Concat", ["r", "token"], ["t"], axis=2)
        if token
        else helper.make_node("Identity", ["r"], ["t"]),
        helper.make_node("Reshape", ["t", "shape"], ["v"]),
        helper.make_node("Gemm", ["v", "fc", "offset"], ["y"], transB=1),
    ]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "exported",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [batch, 2, 4, 4])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [batch, 5])],
        [
            numpy_helper.from_array(v.astype(np.int64 if name == "shape" else np.float32), name)
            for name, v in values.items()
            if name in used
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture
def samples() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((50, 2, 4, 4)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_that_is_provably_free_is_compiled_verified_and_evaluated(
    pimc, here: Path, samples, batch: int
) -> None:
    source = exported(batch)
    onnx.save(source, "fixed.onnx")
    session = ort.InferenceSession(source.SerializeToString())
    runs = [session.run(None, {"x": samples[i : i + batch]})[0] for i in range(0, 48, batch)]
    np.savez("data.npz", x=samples[:48], y=np.concatenate(runs).argmax(axis=1))
    done = pimc("compile", "fixed.onnx", "--calib", "data.npz", "--json")
    assert (done.code, done.err) == (0, "")
    verified = pimc("verify", "fixed.pimc", "--json")
    assert (verified.code, verified.err) == (0, "")
    assert [c["part"] for c in verified.json["comparisons"]].count("source") == 1
    assert pimc("verify", "fixed.pimc", "--data", "data.npz", "--samples", "7").code == 0
    found = pimc("eval", "fixed.pimc", "--data", "data.npz", "--ideal", "--json")
    assert (found.code, found.err) == (0, "")
    assert found.json["float_accuracy"] == 1
    assert found.json["accuracy_mean"] > 0.8


def test_a_fixed_batch_without_proof_is_refused_in_one_sentence(pimc, here: Path, samples) -> None:
    onnx.save(exported(1, token=True), "token.onnx")
    np.savez("data.npz", x=samples, y=np.zeros(50, int))
    words = "takes exactly 1 sample at a time: dimension 0 of its input x is fixed"
    done = pimc("compile", "token.onnx", "--calib", "data.npz")
    assert done.code == 2
    assert words in done.err
    assert done.err.count("\n") == 2
    assert "hint: export the model with a dynamic batch" in done.err
    assert not (here / "token.pimc").exists()
    # Without data it compiles, and runs what it was exported for.
    assert pimc("compile", "token.onnx", "-q").code == 0
    assert pimc("verify", "token.pimc").code == 0
    np.save("one.npy", samples[:1])
    assert pimc("run", "token.pimc", "--input", "one.npy", "-q").code == 0
    for command in (["eval", "--data"], ["recover", "--calib"], ["capture", "--calib"]):
        refused = pimc(command[0], "token.pimc", command[1], "data.npz")
        assert refused.code == 2, command
        assert words in refused.err, command
        assert refused.err.count("\n") == 2


def test_from_python_too(samples) -> None:
    image = api.compile(exported(3, token=True), calib=samples[:3])  # as many as it takes
    with pytest.raises(UsageError, match="exactly 3 samples at a time"):
        api.compile(exported(3, token=True), calib=samples[:6])
    with pytest.raises(UsageError, match="exactly 3 samples at a time"):
        accuracy(Session(image), Dataset.of(samples, np.zeros(50, int)))


def test_compile_reads_the_model_once(pimc, here: Path, samples, monkeypatch) -> None:
    onnx.save(exported(1), "fixed.onnx")
    np.save("data.npy", samples)
    read: list[object] = []
    original = frontend._parse

    def counted(source):
        read.append(source)
        return original(source)

    monkeypatch.setattr(frontend, "_parse", counted)
    assert pimc("compile", "fixed.onnx", "--calib", "data.npy", "-q").code == 0
    assert len(read) == 1
