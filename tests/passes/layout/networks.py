"""Networks that tests of several ways to lay one out share."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from pimc import api
from pimc.chip.design import Chip
from pimc.passes.layout.pack import Packing
from pimc.passes.layout.tile import Tiling
from pimc.plan.records import Plan
from tests.passes.conftest import build_net

CHIP = Chip.default().with_array(16, 16)
RNG = np.random.default_rng(0)


def separable() -> onnx.ModelProto:
    """A depthwise convolution of 24 groups, which dense packing puts into few arrays."""
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["u"], pads=[1] * 4),
        helper.make_node("Relu", ["u"], ["v"]),
        helper.make_node("Conv", ["v", "b"], ["w"], group=24, pads=[1] * 4),
        helper.make_node("Conv", ["w", "c"], ["y"]),
    ]
    weights = {
        "a": RNG.standard_normal((24, 2, 3, 3)),
        "b": RNG.standard_normal((24, 1, 3, 3)),
        "c": RNG.standard_normal((8, 24, 1, 1)),
    }
    return build_net(nodes, {"x": ["N", 2, 6, 6]}, weights)


def tiled(model: onnx.ModelProto, chip: Chip = CHIP) -> Plan:
    return Tiling()(api.plan(model, chip, stop_after="partition"), chip)


def compiled(model: onnx.ModelProto, packing: Packing, chip: Chip = CHIP) -> Plan:
    return api.plan(model, chip, options=api.Options(packing=packing))


def products(count: int, order: list[int] | None = None) -> onnx.ModelProto:
    """Matrices of one array each, used in this order."""
    used = list(range(count)) if order is None else order
    nodes = []
    for step, number in enumerate(used):
        nodes.append(helper.make_node("MatMul", [f"x{step}", f"w{number}"], [f"m{step}"]))
        nodes.append(helper.make_node("Relu", [f"m{step}"], [f"x{step + 1}"]))
    weights = {f"w{k}": RNG.standard_normal((16, 16)) for k in range(count)}
    return build_net(nodes, {"x0": ["N", 16]}, weights, outputs=(f"x{len(used)}",))


def small(arrays: int) -> Chip:
    return CHIP.with_(**{"hierarchy.cores": arrays, "hierarchy.arrays_per_core": 1})
