"""Inputs by name: several of them, of different types, from files and arrays, to every command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from pimc.data.dataset import Dataset, load_data
from pimc.data.inputs import Input, free_inputs, named_inputs
from pimc.errors import DataError, UsageError
from pimc.runtime.session import NodeArg

IDS = NodeArg("ids", ["N", "S"], "tensor(int64)")
MASK = NodeArg("mask", ["N", "S"], "tensor(bool)")
RATE = NodeArg("rate", [], "tensor(int64)")


def two_inputs() -> onnx.ModelProto:
    """Token numbers and a mask, both of any length."""
    rng = np.random.default_rng(0)

    def constant(name: str, values: Any, dtype: Any = np.float32) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(values, dtype), name)

    nodes = [
        helper.make_node("Gather", ["E", "ids"], ["e"]),
        helper.make_node("MatMul", ["e", "w"], ["a"], name="fc"),
        helper.make_node("Cast", ["mask"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["f", "last"], ["m"]),
        helper.make_node("Mul", ["a", "m"], ["b"]),
        helper.make_node("ReduceSum", ["b", "one"], ["y"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", "S"]),
            helper.make_tensor_value_info("mask", TensorProto.BOOL, ["N", "S"]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            constant("E", rng.normal(size=(50, 16))),
            constant("w", rng.normal(size=(16, 8))),
            constant("last", [-1], np.int64),
            constant("one", [1], np.int64),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def job(here: Path) -> Path:
    """A folder with the network, calib.npz and test.npz."""
    rng = np.random.default_rng(1)
    onnx.save(two_inputs(), "two.onnx")
    feed: dict[str, Any] = {"ids": rng.integers(0, 50, (48, 7)), "mask": rng.random((48, 7)) > 0.3}
    y = ort.InferenceSession("two.onnx").run(None, feed)[0].argmax(axis=1)
    np.savez("calib.npz", **feed)
    np.savez_compressed("test.npz", **feed, y=y, weight=np.ones(48))
    return here


def test_commands_alone_take_a_network_of_two_inputs(pimc, job) -> None:
    done = pimc("compile", "two.onnx", "--calib", ".", "--quiet")
    assert done.code == 0, done.err
    done = pimc("eval", "two.pimc", "--data", ".", "--dies", 2, "--json")
    assert done.code == 0, done.err
    assert done.json["float_accuracy"] == 1.0
    assert done.json["accuracy_mean"] > 0.5
    done = pimc("verify", "two.pimc", "--data", "test.npz", "--json")
    assert done.code == 0, done.err
    assert done.json["ok"]
    done = pimc("capture", "two.pimc", "--calib", ".", "-o", "c.pimccap")
    assert done.code == 0, done.err
    Path("c.pimccap").unlink()
    done = pimc("recover", "two.pimc", "--calib", ".", "--data", ".", "--dies", 1, "--json")
    assert done.code == 0, done.err
    assert done.json["accuracy_after"][0] >= done.json["accuracy_before"][0]
    assert Path("two.r1.pimc").exists()
    over = ("--over", "levels=8,16", "--dies", 1)
    done = pimc("sweep", "two.onnx", "--calib", ".", "--data", ".", *over, "--json")
    assert done.code == 0, done.err
    assert [row["error"] for row in done.json["rows"]] == ["", ""]


def test_a_compiled_image_says_how_each_input_was_prepared(pimc, job) -> None:
    from pimc.image.image import Image

    assert pimc("compile", "two.onnx", "--calib", ".").code == 0
    note = Image.load(Path("two.pimc")).calibration
    assert note is not None
    assert note.of(0, "ids") is note
    mask = note.of(1, "mask")
    assert mask is not None
    assert (mask.low, mask.high, mask.samples) == (0.0, 1.0, 48)


def test_feeds_have_the_types_of_the_network() -> None:
    x = {"ids": np.array([[1, 2], [3, 4]], np.uint8), "mask": np.array([[1.0, 0.0], [1.0, 1.0]])}
    data = Dataset.of(x, [0, 1], targets={"weight": [0.5, 1.0]}).on([MASK, IDS])
    feed = data.feed(1, 5)
    assert list(feed) == ["mask", "ids"]
    assert feed["ids"].dtype == np.int64
    assert feed["ids"].tolist() == [[3, 4]]
    assert feed["mask"].dtype == np.bool_
    assert feed["mask"].tolist() == [[True, True]]
    assert data.subset([1]).targets["weight"][:].tolist() == [1.0]


def test_tokens_beyond_float32_stay_what_they_are() -> None:
    data = Dataset.of(np.array([[2**24 + 1, 0]])).on([IDS])
    assert data.feed(0, 1)["ids"].tolist() == [[2**24 + 1, 0]]


@pytest.mark.parametrize(
    ("values", "arg"),
    [
        ([[0.5, 1.0]], IDS),
        ([[2, 0]], MASK),
        ([[300, 0]], NodeArg("ids", ["N", 2], "tensor(uint8)")),
        ([[-1, 0]], NodeArg("ids", ["N", 2], "tensor(uint8)")),
    ],
)
def test_values_that_the_type_cannot_hold_are_refused(values: Any, arg: NodeArg) -> None:
    data = Dataset.of(np.array(values), name="a.npz").on([arg])
    with pytest.raises(DataError, match=r"a\.npz: x holds values that are no (int64|bool|uint8)"):
        data.feed(0, 1)


def test_an_input_without_axes_is_shared(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", ids=np.ones((3, 2), int), rate=np.int64(16000))
    data = load_data(tmp_path / "a.npz", inputs=[IDS, RATE])
    assert len(data) == 3
    assert data.feed(1, 2)["rate"].tolist() == 16000
    assert data.subset([0, 2]).feed(0, 2)["rate"].shape == ()


def test_the_only_input_may_be_called_by_its_name_or_x(tmp_path: Path) -> None:
    values = np.arange(6).reshape(3, 2)
    np.savez(tmp_path / "a.npz", x=values)
    np.savez(tmp_path / "b.npz", ids=values, x=np.ones(3))
    for name in ("a.npz", "b.npz"):
        data = load_data(tmp_path / name, inputs=[IDS])
        assert data.feed(0, 3)["ids"].tolist() == values.tolist()
    assert list(data.targets) == ["x"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((2, 3))}, "holds no array ids, mask (it holds x)"),
        ({"ids": np.ones((2, 3), int)}, "holds no array mask (it holds ids)"),
        (
            {"ids": np.ones((2, 3), int), "mask": np.ones((3, 3))},
            "inputs have different numbers of samples: ids has 2, mask has 3",
        ),
        (
            {"ids": np.ones((2, 3), int), "mask": np.ones((2, 3, 1))},
            "the model takes (N, ?), the data give (N, 3, 1)",
        ),
        (
            {"ids": np.ones((2, 3), int), "mask": np.full((2, 3), np.nan)},
            "in mask, first in sample 0",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_named(tmp_path: Path, arrays: Any, message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError) as caught:
        load_data(tmp_path / "a.npz", inputs=[IDS, MASK])
    assert message in str(caught.value)
    assert "a.npz" in str(caught.value)


def test_one_array_for_two_inputs(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    with pytest.raises(DataError, match=r"holds one array, and the network has the inputs ids, m"):
        load_data(tmp_path / "a.npy", inputs=[IDS, MASK])


def test_data_that_were_loaded_for_another_network() -> None:
    data = Dataset.of({"a": np.ones((2, 3)), "b": np.ones((2, 3))})
    with pytest.raises(DataError, match="inputs are ids, mask, the data have a, b"):
        data.on([IDS, MASK])
    with pytest.raises(UsageError, match="the data have the inputs a, b"):
        data.batch(0, 1)


def test_a_fixed_number_of_samples_is_refused() -> None:
    with pytest.raises(UsageError, match="takes exactly 1 sample at a time: dimension 0 of its"):
        free_inputs([IDS, NodeArg("mask", [1, "S"], "tensor(float)")])
    assert named_inputs([RATE]) == (Input("rate", (), np.dtype(np.int64)),)


def test_a_network_without_shapes_or_of_text_is_refused() -> None:
    with pytest.raises(UsageError, match="does not say the shape of its input a"):
        named_inputs([NodeArg("a", None, "tensor(float)")])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"input a is of type tensor\(string\)"):
        named_inputs([NodeArg("a", ["N"], "tensor(string)")])


X_AND_RATE = [NodeArg("x", ["N", 3], "tensor(float)"), RATE]


@pytest.mark.parametrize("rate", [np.int64(8), np.full(5, 8), np.full(5, 8.0)])
def test_a_value_that_samples_share_may_be_stored_once_for_each(here: Path, rate: Any) -> None:
    np.savez("shared.npz", x=np.ones((5, 3)), rate=rate)
    made = Dataset.of({"x": np.ones((5, 3)), "rate": rate})
    for data in (load_data("shared.npz", inputs=X_AND_RATE), made.on(X_AND_RATE)):
        feed = data.feed(0, 2)
        assert (feed["rate"].shape, feed["rate"].dtype.name, int(feed["rate"])) == ((), "int64", 8)
        assert len(data.subset([1, 2])) == 2


def test_values_that_samples_do_not_share_are_refused(here: Path) -> None:
    np.savez("rates.npz", x=np.ones((5, 3)), rate=np.arange(5))
    with pytest.raises(DataError, match=r"a single rate for all samples, the data give \[5\]"):
        load_data("rates.npz", inputs=X_AND_RATE)
    data = Dataset.of({"x": np.ones((5, 3)), "rate": np.arange(5)})
    with pytest.raises(DataError, match=r"a single rate for all samples, the data give \[5\]"):
        data.on(X_AND_RATE)
    shared = Dataset.of({"ids": np.zeros((4, 2), int), "mask": np.array(True)})
    with pytest.raises(DataError, match="mask is a single value, the network takes one for each"):
        shared.on([IDS, MASK])


def test_arrays_that_share_a_value_go_through_pimc_run(pimc, here: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["rate"], ["r"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "r"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "w"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3]),
        helper.make_tensor_value_info("rate", TensorProto.INT64, []),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])]
    weight = numpy_helper.from_array(np.eye(3, 2, dtype=np.float32), "w")
    graph = helper.make_graph(nodes, "shared", inputs, outputs, [weight])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        "shared.onnx",
    )
    assert pimc("compile", "shared.onnx", "-q").code == 0
    np.savez("in.npz", x=np.ones((5, 3), np.float32), rate=2)
    assert pimc("run", "shared.pimc", "--input", "in.npz", "--ideal", "-q").code == 0
    assert np.load("in.out.npz")["y"] == pytest.approx(2, rel=0.05)


def test_preprocessing_of_no_input_is_refused() -> None:
    from pimc.data.dataset import Preprocess

    with pytest.raises(DataError, match="preprocessing of c, which is no input"):
        Dataset.of({"a": np.ones(3)}, preprocess={"c": Preprocess(scale=2.0)})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x": [[1], [2, 3]]}, "x is no array: "),
        ({"x": np.ones((2, 1)), "y": [[1], [2, 3]]}, "y is no array: "),
        ({"x": np.ones((2, 1)), "targets": {"z": [None, None]}}, "z holds object, no numbers"),
    ],
)
def test_what_is_no_array_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Dataset.of(**given)
