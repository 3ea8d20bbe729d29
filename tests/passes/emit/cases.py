"""Networks, each with all that it is compiled with, that a saved plan has to bring back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from pimc import api
from pimc.chip.design import Chip
from pimc.chip.fault_map import Fault, FaultMap
from tests.conftest import build_tiny_model
from tests.passes.lowered_nets import drawn, model_of, node
from tests.passes.test_repeated_layers import branching, sequence_classifier

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(3)
SMALL = Chip.default().with_array(16, 8)


@dataclass(frozen=True)
class Case:
    """A network and all that it is compiled with."""

    model: Callable[[], onnx.ModelProto]
    chip: Chip = SMALL
    calib: Array | None = None
    arguments: Mapping[str, Any] | None = None

    def more(self) -> dict[str, Any]:
        return {"calib": self.calib, **(self.arguments or {})}


def typed(kind: int, dtype: type) -> Callable[[], onnx.ModelProto]:
    """Products row by row and column by column, one of them scaled, of some floating type."""

    def model() -> onnx.ModelProto:
        nodes = [
            node("Cast", ["x"], ["t"], to=kind),
            node("MatMul", ["t", "a"], ["u"]),
            node("Gemm", ["u", "b"], ["v"], transB=1, alpha=0.5),
            node("Cast", ["v"], ["y"], to=TensorProto.FLOAT),
        ]
        rng = np.random.default_rng(2)
        weights = {
            name: helper.make_tensor(
                name, kind, shape, rng.standard_normal(shape).astype(dtype).ravel()
            )
            for name, shape in {"a": (20, 24), "b": (18, 24)}.items()
        }
        made = model_of(nodes, {"x": ["N", 20]}, {})
        made.graph.initializer.extend(weights.values())
        return made

    return model


def stored() -> onnx.ModelProto:
    """Weights as codes, turned and not, and one behind a Transpose."""
    whole = np.random.default_rng(7).integers(0, 16, (20, 24)).astype(np.uint8)
    nodes = [
        node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=1),
        node("MatMul", ["x", "w"], ["u"]),
        node("DequantizeLinear", ["q4", "s4"], ["w4"]),
        node("Transpose", ["w4"], ["t4"], perm=[1, 0]),
        node("MatMul", ["u", "t4"], ["v"]),
        node("Transpose", ["f"], ["tf"], perm=[1, 0]),
        node("MatMul", ["v", "tf"], ["y"]),
    ]
    weights = {
        "q": whole,
        "s": np.linspace(0.01, 0.02, 24, dtype=np.float32),
        "z": np.full(24, 8, np.uint8),
        "s4": np.float32(0.05),
        "f": drawn(10, 20),
    }
    model = model_of(nodes, {"x": ["N", 20]}, weights)
    four = RNG.integers(-8, 8, 20 * 24)
    model.graph.initializer.append(helper.make_tensor("q4", TensorProto.INT4, (20, 24), four))
    model.opset_import[0].version = 21
    model.ir_version = 10
    return model


def images(*shape: int) -> Array:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


TINY = images(24, 2, 8, 8)
FAULTS = FaultMap((Fault(0, 1, 2, "open"), Fault(0, 3, None, "open")))
CASES: Mapping[str, Case] = {
    "plain": Case(build_tiny_model),
    "calibrated": Case(build_tiny_model, calib=TINY),
    "around faults": Case(build_tiny_model, calib=TINY, arguments={"faults": FAULTS}),
    "differential": Case(build_tiny_model, SMALL.with_mapping("differential"), TINY),
    "sliced": Case(build_tiny_model, SMALL.with_mapping("sliced")),
    "mixed": Case(
        build_tiny_model,
        calib=TINY,
        arguments={"options": api.Options(mapping={"w1": "differential:arrays", "w3": "sliced:2"})},
    ),
    "a range a column": Case(build_tiny_model, SMALL.with_(**{"adc.range": "column"}), TINY),
    "copies": Case(
        build_tiny_model, arguments={"options": api.Options(packing="parallel", copies=40)}
    ),
    "phases": Case(
        build_tiny_model,
        SMALL.with_(**{"hierarchy.cores": 1, "hierarchy.arrays_per_core": 4}),
        arguments={"options": api.Options(phases=True, digital=("w3",))},
    ),
    "half": Case(typed(TensorProto.FLOAT16, np.float16)),
    "double": Case(typed(TensorProto.DOUBLE, np.float64), calib=images(16, 20)),
    "brain": Case(typed(TensorProto.BFLOAT16, np.float32)),
    "codes": Case(stored),
    "codes, calibrated": Case(stored, calib=images(16, 20)),
    "branches": Case(branching, calib=images(16, 4)),
    "steps": Case(sequence_classifier, calib=images(16, 2, 8, 8)),
}
