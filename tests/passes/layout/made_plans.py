"""Plans made by hand: layers one after the other, blocks of given sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from hypothesis import strategies as st

from pimc.chip.design import Chip
from pimc.files.weight import Weight
from pimc.plan.records import (
    ARRAY_OP,
    DOMAIN,
    Layer,
    Plan,
    Quantized,
    Tile,
)

BASE = Chip.default()
#: A differential pair a weight.
PAIR = {"mapping.kind": "differential"}
Sizes = list[tuple[int, int]]


def layer(name: str, groups: int, rows: int, cols: int) -> Layer:
    weight = np.zeros((groups, rows, cols), np.float32)
    bias = np.zeros(groups * cols, np.float32)
    return Layer(name, f"{name}.out", "Conv", groups, rows, cols, None, Weight(weight), bias)


def chain(count: int) -> ir.Model:
    """Layers ``w0``, ``w1``, … one after the other, a digital operator between them."""
    value = source = ir.Value(name="x")
    nodes = []
    for number in range(count):
        for domain, op, attributes in (
            (DOMAIN, ARRAY_OP, [ir.AttrString("layer", f"w{number}")]),
            ("", "Relu", []),
        ):
            node = ir.Node(domain, op, [value], attributes)
            nodes.append(node)
            value = node.outputs[0]
    graph = ir.Graph([source], [value], nodes=nodes, opset_imports={"": 17, DOMAIN: 1})
    return ir.Model(graph, ir_version=10)


def plan_of(layers: tuple[Layer, ...]) -> Plan:
    quantized = tuple(map(quantized_of, layers))
    return Plan(chain(len(layers)), "m.onnx", "", layers=layers, quantized=quantized)


def quantized_of(layer: Layer) -> Quantized:
    columns, rows = np.ones(layer.bias.shape, np.float32), np.ones(layer.weight.shape[:2])
    codes, zero = layer.weight.numpy().astype(np.uint16), np.zeros(layer.bias.shape, np.uint16)
    importance = rows.astype(np.float32)
    return Quantized(codes, zero, columns, columns, layer.bias, importance, 0.5, True, 2.0, 0.0)


def blocks(sizes: Sizes) -> Plan:
    """One layer a block, so that tiles have just these sizes."""
    layers = tuple(layer(f"w{i}", 1, rows, cols) for i, (rows, cols) in enumerate(sizes))
    tiles = tuple(Tile(i, 0, 0, rows, 0, cols) for i, (rows, cols) in enumerate(sizes))
    return replace(plan_of(layers), tiles=tiles)


shapes = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 50)), min_size=1, max_size=4
)
sizes_of = st.lists(st.tuples(st.integers(1, 32), st.integers(1, 24)), min_size=1, max_size=40)
