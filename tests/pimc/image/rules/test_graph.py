"""The graph of an image: what of it must hold before it is run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pimc.errors import ImageError
from pimc.image.image import Image
from pimc.image.rules.sound import require_sound
from pimc.runtime.session import Session


def changed(image: Image, change: Callable[[onnx.ModelProto], object]) -> Image:
    model = onnx.load_model_from_string(image.graph_bytes.tobytes())
    change(model)
    graph = np.frombuffer(model.SerializeToString(deterministic=True), np.uint8)
    return Image.build(image.manifest, {**image.tensors, "graph": graph})


def with_bytes(image: Image, old: bytes, new: bytes) -> Image:
    graph = np.frombuffer(image.graph_bytes.tobytes().replace(old, new), np.uint8)
    return Image.build(image.manifest, {**image.tensors, "graph": graph})


def array_node(model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.domain == "pimc")


def constant(size: int, data: bytes) -> Callable[[onnx.ModelProto], object]:
    tensor = TensorProto(name="c", dims=[size], data_type=TensorProto.FLOAT, raw_data=data)
    return lambda model: model.graph.initializer.append(tensor)


def elsewhere(model: onnx.ModelProto) -> None:
    tensor = TensorProto(name="c", dims=[3], data_type=1, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="passwords")
    model.graph.initializer.append(tensor)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model.Clear(), "it names no version of ONNX"),
        (lambda model: model.graph.ClearField("output"), "it gives no output"),
        (lambda model: model.graph.node.pop(0), "nothing before makes the value"),
        (lambda model: array_node(model).ClearField("attribute"), "a node Array needs"),
        (lambda model: array_node(model).input.append("x"), "a node Array needs"),
        (lambda model: array_node(model).attribute.pop(), "a node Array needs"),
        (
            lambda model: (
                array_node(model).attribute[0].CopyFrom(helper.make_attribute("layer", "other"))
            ),
            "its nodes Array are not the layers of the manifest",
        ),
        (constant(4, bytes(12)), "its constant 'c' does not hold"),
        (constant(1000, bytes(3999)), "its constant 'c' does not hold"),
        (lambda model: model.ClearField("opset_import"), "it names no version of ONNX"),
        (
            lambda model: setattr(model.opset_import[0], "version", 2**40),
            "no operator set '.*' has version 1099511627776",
        ),
        (elsewhere, "its constant 'c' does not hold"),
    ],
)
def test_a_graph_that_is_not_the_networks_is_refused(
    tiny_image: Image, change: Callable[[onnx.ModelProto], object], message: str, capfd
) -> None:
    image = changed(tiny_image, change)
    with pytest.raises(ImageError, match=f"tensor graph: {message}") as caught:
        require_sound(image)
    assert caught.value.hint
    assert capfd.readouterr() == ("", "")


def test_a_name_that_is_no_text_is_refused(tiny_image: Image) -> None:
    with pytest.raises(ImageError, match=r"tensor graph: the name b'R\\xfflu' is no text"):
        require_sound(with_bytes(tiny_image, b"Relu", b"R\xfflu"))


def test_a_layer_that_gets_an_input_of_another_shape_says_so(tiny_image: Image) -> None:
    """Where no shape is declared, that is seen in a run."""

    def reduced(model: onnx.ModelProto) -> None:
        node = array_node(model)
        model.graph.node.insert(0, helper.make_node("Flatten", [node.input[0]], ["flat"]))
        node.input[0] = "flat"
        model.graph.ClearField("value_info")

    image = changed(tiny_image, reduced)
    require_sound(image)
    with pytest.raises(ImageError, match=r"layer w1: an input of shape \[2, 128\] does not fit"):
        Session(image).run(None, {"x": np.zeros((2, 2, 8, 8), np.float32)})
