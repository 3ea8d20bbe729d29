"""Reading models: every door, every kind of damage, the user's file untouched."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from pimc.errors import ModelError
from pimc.passes.graph.frontend import complete_model, load_model
from tests.passes.graph.small_models import (
    images,
    run,
    save_external,
    small_model,
)


def test_old_models_that_list_weights_as_inputs() -> None:
    model = small_model(8, weights_as_inputs=True)
    plan = load_model(model)
    assert [value.name for value in plan.graph.graph.inputs] == ["x"]
    np.testing.assert_allclose(
        run(ir.to_proto(plan.graph), images()), run(model, images()), atol=1e-5
    )


def test_name_and_hash_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(small_model(), path)
    before = path.read_bytes()
    plan = load_model(path)
    assert plan.model_name == "net.onnx"
    assert plan.model_sha256 == hashlib.sha256(before).hexdigest()
    assert plan.stage == "frontend"
    assert path.read_bytes() == before
    assert load_model(str(path)).model_sha256 == plan.model_sha256
    assert load_model(before).model_sha256 == plan.model_sha256


def test_models_in_memory_are_not_changed() -> None:
    proto = small_model(9, weights_as_inputs=True)
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    load_model(proto)
    assert proto == copy
    model = ir.from_proto(small_model())
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    plan = load_model(model)
    plan.graph.graph.inputs[0].name = "changed"
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_external_data_is_mapped_and_hashed(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    save_external(small_model(), path)
    plan = load_model(path)
    weight = plan.graph.graph.initializers["conv.weight"].const_value
    assert isinstance(weight, ir.ExternalTensor)
    assert weight.raw is None, "the data was read"
    digest = hashlib.sha256(path.read_bytes() + (tmp_path / "weights.bin").read_bytes())
    assert plan.model_sha256 == digest.hexdigest()
    expected = numpy_helper.to_array(small_model().graph.initializer[0])
    np.testing.assert_array_equal(weight.numpy(), expected)


def test_a_changed_weight_file_changes_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    save_external(small_model(), path)
    before = load_model(path).model_sha256
    data = bytearray((tmp_path / "weights.bin").read_bytes())
    data[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(data)
    assert load_model(path).model_sha256 != before


@pytest.mark.parametrize("damage", ["missing", "short", "outside", "absolute", "hard link"])
def test_damaged_external_data_is_refused(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path, data = folder / "net.onnx", folder / "weights.bin"
    save_external(small_model(), path)
    if damage == "missing":
        data.unlink()
    elif damage == "short":
        data.write_bytes(data.read_bytes()[:-4])
    elif damage == "hard link":
        os.link(data, tmp_path / "other")
    else:
        model = onnx.load(path, load_external_data=False)
        target = tmp_path / "weights.bin"
        data.rename(target)
        location = "../weights.bin" if damage == "outside" else str(target)
        for tensor in model.graph.initializer:
            next(e for e in tensor.external_data if e.key == "location").value = location
        path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"net\.onnx: external data") as caught:
        load_model(path)
    named = "fc.bias" if damage == "short" else "conv.weight"
    assert named in str(caught.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="cannot be read: is no regular file"):
        load_model(tmp_path / "net.onnx")


def test_external_data_in_a_folder_are_no_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    save_external(small_model(), path)
    (tmp_path / "weights.bin").unlink()
    (tmp_path / "weights.bin").mkdir()
    with pytest.raises(ModelError, match=r"conv\.weight: 'weights\.bin' is no regular file"):
        load_model(path)


def test_data_behind_links_are_read_where_the_user_allows_it(tmp_path: Path) -> None:
    folder, blobs = tmp_path / "model", tmp_path / "blobs"
    folder.mkdir()
    blobs.mkdir()
    path, data = folder / "net.onnx", folder / "weights.bin"
    save_external(small_model(), path)
    sha256 = load_model(path).model_sha256
    for file in (path, data):  # as a model hub's cache has them
        file.rename(blobs / file.name)
        file.symlink_to(blobs / file.name)
    with pytest.raises(ModelError, match="link") as refused:
        load_model(path)
    assert "--follow-links" in str(refused.value.hint)
    linked = load_model(path, follow_links=True)
    assert linked.model_sha256 == sha256
    stored = {t.name: numpy_helper.to_array(t) for t in small_model().graph.initializer}
    found = linked.graph.graph.initializers["conv.weight"].const_value
    assert found is not None
    np.testing.assert_array_equal(found.numpy(), stored["conv.weight"])
    with pytest.raises(ModelError, match="link"):
        complete_model(path)
    whole = complete_model(path, follow_links=True)
    inside = {t.name: numpy_helper.to_array(t) for t in whole.graph.initializer}
    assert inside.keys() == stored.keys()
    assert all(np.array_equal(inside[name], stored[name]) for name in stored)


def test_links_do_not_make_other_places_allowed(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = folder / "net.onnx"
    save_external(small_model(), path)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        next(e for e in tensor.external_data if e.key == "location").value = "../model/weights.bin"
    path.write_bytes(model.SerializeToString())
    assert load_model(path).model_sha256  # the same folder after all
    for tensor in model.graph.initializer:
        next(e for e in tensor.external_data if e.key == "location").value = "../weights.bin"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="outside the model's folder"):
        load_model(path, follow_links=True)


def test_external_data_needs_a_path(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    save_external(small_model(), path)
    with pytest.raises(ModelError, match="not given as a path"):
        load_model(path.read_bytes())


def test_missing_file_folder_and_empty_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        load_model(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="folder"):
        load_model(tmp_path)
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelError, match="empty"):
        load_model(tmp_path / "empty.onnx")


@pytest.mark.parametrize(
    "data", [b"hello, this is text\n", b"PK\x03\x04" + bytes(100), b"\x08\x07", b"\n" * 300]
)
def test_a_file_that_is_not_onnx(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=r"x\.onnx: not an ONNX"):
        load_model(tmp_path / "x.onnx")


def test_every_truncation_is_refused() -> None:
    data = small_model().SerializeToString()
    for length in range(1, len(data), 7):
        with pytest.raises(ModelError):
            load_model(data[:length])


def test_graph_without_outputs() -> None:
    model = small_model()
    del model.graph.output[:]
    with pytest.raises(ModelError, match="no outputs"):
        load_model(model)


def test_undefined_names_are_all_listed() -> None:
    model = small_model()
    model.graph.node[2].input[0] = "nowhere"
    model.graph.output[0].name = "nothing"
    with pytest.raises(ModelError, match="malformed graph") as caught:
        load_model(model)
    assert "nowhere" in str(caught.value)
    assert "nothing" in str(caught.value)


def test_cycles_are_refused_and_unsorted_nodes_are_sorted() -> None:
    model = small_model()
    first = model.graph.node[0]
    shuffled = [model.graph.node[i] for i in (5, 0, 2, 1, 4, 3)]
    unsorted = onnx.ModelProto()
    unsorted.CopyFrom(model)
    del unsorted.graph.node[:]
    unsorted.graph.node.extend(shuffled)
    order = [node.op_type for node in load_model(unsorted).graph.graph]
    assert order == [node.op_type for node in model.graph.node]
    first.input[0] = "r"
    with pytest.raises(ModelError, match="malformed graph"):
        load_model(model)


def test_damaged_tensor_is_named() -> None:
    model = small_model()
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-8]
    with pytest.raises(ModelError, match=r"conv\.weight"):
        load_model(model)
