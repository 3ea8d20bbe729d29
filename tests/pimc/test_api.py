"""Compiling from Python: calibration data, options, progress, images that stand alone."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from pimc import api
from pimc.chip.design import Chip
from pimc.chip.fault_map import Fault, FaultMap
from pimc.data.dataset import Dataset
from pimc.errors import DataError, UsageError
from pimc.image.image import Image
from pimc.passes.graph.frontend import load_model
from pimc.passes.quantize.quantize import Quantize
from pimc.runtime.session import Session

Item = TypeVar("Item")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.float32(1), "holds no samples"),
        (np.zeros((0, 2, 8, 8), np.float32), "holds no samples"),
        (np.zeros((5, 3, 8, 8), np.float32), r"takes \(N, 2, 8, 8\), the data give \(N, 3, 8, 8\)"),
        (np.zeros((5, 2, 8), np.float32), r"takes \(N, 2, 8, 8\)"),
        (np.full((5, 2, 8, 8), "a"), "not real numbers"),
    ],
)
def test_calibration_arrays_that_cannot_be_used(tiny_model, values, message: str) -> None:
    with pytest.raises(DataError, match=message):
        api.compile(tiny_model(), calib=values)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused_in_samples_that_the_compiler_does_not_look_at_too(
    tiny_model, tiny_inputs, bad: float
) -> None:
    values = tiny_inputs.copy()
    values[1, 0, 0, 0] = bad
    with pytest.raises(DataError, match="first in sample 1"):
        api.compile(tiny_model(), calib=values, options=api.Options(calibration_images=2))


def test_a_dataset_of_another_models_shape_is_refused(tiny_model) -> None:
    with pytest.raises(DataError, match="mine: the model takes"):
        api.compile(tiny_model(), calib=Dataset.of(np.zeros((5, 4)), name="mine"))


def test_an_array_and_its_dataset_give_the_same_image(
    tiny_model, tiny_inputs, tiny_chip, tiny_image
) -> None:
    image = api.compile(tiny_model(), tiny_chip, calib=Dataset.of(tiny_inputs))
    assert image.to_bytes() == tiny_image.to_bytes()


def test_options_are_in_the_manifest(tiny_model, tiny_inputs, tiny_image) -> None:
    assert tiny_image.options == {
        "packing": "dense",
        "feedback": True,
        "write_noise": None,
        "purpose": "recovery",
        "equalize": True,
        "digital": [],
        "teacher": True,
        "calibration_images": api.CALIBRATION_IMAGES,
        "calibrated": True,
        "faults": None,
    }
    options = api.Options(
        "single", False, 0.5, digital=("w3",), teacher=False, calibration_images=8
    )
    some, same, other = (
        FaultMap((Fault(0, row, None, "open"),), source)
        for row, source in ((1, "a.csv"), (1, "b.csv"), (2, "a.csv"))
    )
    first, second, third = (
        api.compile(tiny_model(), faults=faults, options=options).options
        for faults in (some, same, other)
    )
    assert first == {
        "packing": "single",
        "feedback": False,
        "write_noise": 0.5,
        "purpose": "as-programmed",
        "equalize": True,
        "digital": ["w3"],
        "teacher": False,
        "calibration_images": 8,
        "calibrated": False,
        "faults": hashlib.sha256(b"0,1,*,open\n").hexdigest(),
    }
    assert first == second
    assert first["faults"] != third["faults"]


def test_write_noise_counts_by_default_and_narrows_the_range(tiny_model) -> None:
    assert api.Options().counted(calibrated=False) == Quantize().write_noise == 1.0
    chip = Chip.default().with_(**{"cell.sigma.fraction_of_range": 0.2})
    exact, noisy = (
        api.compile(tiny_model(), chip, options=api.Options(write_noise=share)).layers[0].scale
        for share in (0.0, 1.0)
    )
    assert noisy.mean() < exact.mean()


class Bars:
    """A progress report that remembers: description → (total, parts done)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int | None, int]] = []

    def __call__(
        self, iterable: Iterable[Item], description: str, total: int | None = None
    ) -> Iterator[Item]:
        number = len(self.seen)
        self.seen.append((description, total, 0))
        for done, item in enumerate(iterable, 1):
            yield item
            self.seen[number] = (description, total, done)


def test_the_runs_on_calibration_data_report_their_layers(tiny_model, tiny_inputs) -> None:
    bars = Bars()
    api.compile(tiny_model(), calib=tiny_inputs, progress=bars)
    # The float network for the layers' inputs, for their outputs, and the quantized one.
    assert bars.seen == [("calibrating", 3, 3)] * 3
    silent = Bars()
    api.compile(tiny_model(), progress=silent)
    assert silent.seen == []


def test_plan_stops_where_it_is_told_and_takes_a_model_that_was_read_before(tiny_model) -> None:
    plan = api.plan(load_model(tiny_model()), stop_after="tile")
    assert plan.stage == "tile"
    assert plan.tiles
    assert not plan.places
    assert api.plan(tiny_model()).stage == "schedule"
    with pytest.raises(UsageError, match="no pass is called 'weld'"):
        api.plan(tiny_model(), stop_after="weld")


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """A network with much that stays digital, its constants in a file of their own."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((8, 16)),
        "kept": rng.standard_normal((16, 16)),
        "scale": rng.standard_normal((1, 16)),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Mul", ["a", "scale"], ["b"]),
        helper.make_node("MatMul", ["b", "kept"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "external",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 16])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "model" / "external.onnx"
    path.parent.mkdir()
    onnx.save(model, path, save_as_external_data=True, location="data.bin", size_threshold=0)
    return path


def test_an_image_stands_alone_though_the_model_has_external_data(
    external: Path, tmp_path: Path, monkeypatch
) -> None:
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    options = api.Options(digital=("kept",))
    image = api.compile(external, options=options, dump_dir=tmp_path / "dump")
    image.save(tmp_path / "alone.pimc")
    (wanted,) = Session(image).run(None, {"x": x})
    shutil.rmtree(external.parent)
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.move(tmp_path / "alone.pimc", empty)
    monkeypatch.chdir(empty)
    alone = Image.load("alone.pimc")
    (got,) = Session(alone).run(None, {"x": x})
    np.testing.assert_array_equal(got, wanted)
    graph = onnx.ModelProto.FromString(alone.graph_bytes.tobytes()).graph
    assert "kept" in {tensor.name for tensor in graph.initializer}
    assert all(t.data_location != onnx.TensorProto.EXTERNAL for t in graph.initializer)
    # What is dumped can be opened too.
    (dumped,) = (tmp_path / "dump").glob("*-simplify")
    ort.InferenceSession(dumped / "graph.onnx").run(None, {"x": x})


def decoder_like(path: Path, dtype: type, opset: int = 17) -> None:
    """A network with a product row by row, one column by column and one scaled, external."""
    rng = np.random.default_rng(4)
    weights = {"a": (96, 160), "b": (80, 160), "c": (80, 40), "k": (8, 1, 3)}
    tensors = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(dtype), name)
        for name, shape in weights.items()
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["u"]),
        helper.make_node("Gemm", ["u", "b"], ["v"], transB=1, alpha=0.5),
        helper.make_node("Gemm", ["v", "c"], ["w"]),
        helper.make_node("Reshape", ["w", "shape"], ["image"]),
        helper.make_node("Conv", ["image", "k"], ["y"], group=8),
    ]
    tensors.append(numpy_helper.from_array(np.array([-1, 8, 5]), "shape"))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, ["N", 96])],
        [helper.make_tensor_value_info("y", kind, ["N", 8, 3])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("teacher", [True, False])
@pytest.mark.parametrize("mapping", ["offset", "differential"])
def test_a_streamed_image_has_the_same_bytes(
    tmp_path: Path, dtype: type, teacher: bool, mapping: str
) -> None:
    decoder_like(tmp_path / "net.onnx", dtype)
    chip = Chip.default().with_array(64, 32).with_mapping(mapping)
    options = api.Options(teacher=teacher)
    path = tmp_path / "net.pimc"
    streamed = api.compile(tmp_path / "net.onnx", chip, options=options, output=path)
    whole = api.compile(tmp_path / "net.onnx", chip, options=options)
    assert path.read_bytes() == whole.to_bytes() == streamed.to_bytes()
    assert Image.load(path).sha256 == whole.sha256 == streamed.sha256


def test_a_streamed_image_can_be_calibrated(tmp_path: Path) -> None:
    decoder_like(tmp_path / "net.onnx", np.float32)
    x = np.random.default_rng(0).standard_normal((8, 96)).astype(np.float32)
    path = tmp_path / "net.pimc"
    streamed = api.compile(tmp_path / "net.onnx", calib=x, output=path)
    assert streamed.sha256 == api.compile(tmp_path / "net.onnx", calib=x).sha256
    (y,) = Session(streamed).run(None, {"x": x})
    (again,) = Session(Image.load(path)).run(None, {"x": x})
    np.testing.assert_array_equal(y, again)
