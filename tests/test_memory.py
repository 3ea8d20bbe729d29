"""A network much larger than what may be in memory compiles: its weights are streamed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

SIZE, LAYERS = 4096, 16
MIB = 2**20


def large_network(path: Path) -> None:
    """Sixteen products of 64 MiB each; the file of weights has no content, which reads as zeros."""
    tensors = []
    for number in range(LAYERS):
        tensor = TensorProto(
            name=f"w{number}",
            dims=(SIZE, SIZE),
            data_type=TensorProto.FLOAT,
            data_location=TensorProto.EXTERNAL,
        )
        nbytes = 4 * SIZE * SIZE
        facts = {"location": "weights.bin", "offset": number * nbytes, "length": nbytes}
        for key, value in facts.items():
            tensor.external_data.add(key=key, value=str(value))
        tensors.append(tensor)
    with (path.parent / "weights.bin").open("wb") as stream:
        stream.truncate(LAYERS * nbytes)
    # Both ways of lying in a file.
    nodes = [
        helper.make_node("Gemm", [f"x{k}", f"w{k}"], [f"x{k + 1}"], transB=k % 2)
        for k in range(LAYERS)
    ]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, ["N", SIZE])],
        [helper.make_tensor_value_info(f"x{LAYERS}", TensorProto.FLOAT, ["N", SIZE])],
        tensors,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems count memory that was given back"
)
def test_memory_does_not_grow_with_the_network(tmp_path: Path) -> None:
    large_network(tmp_path / "large.onnx")
    command = [
        "compile", "large.onnx", "--array", "128x128", "--set", "hierarchy.cores=4096",
        "--no-teacher", "--json",
    ]  # fmt: skip
    pimc = str(Path(sys.executable).with_name("pimc"))
    done = subprocess.run(
        # By a shell: what a process held when it started another counts for that one.
        ["sh", "-c", '"$@"; exit $?', "sh", pimc, *command],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    assert found["cells_used"] == LAYERS * SIZE * SIZE
    assert found["peak_rss_mb"] < 1.2 * 4 * SIZE * SIZE / MIB + 500
