"""What flows from layer to layer, through whatever stands between."""

from __future__ import annotations

from pimc.passes.layout.dataflow import layer_graph
from tests.passes.layout.made_plans import layer, plan_of


def test_traffic_counts_columns_through_digital_operators() -> None:
    layers = (layer("w0", 2, 4, 5), layer("w1", 1, 10, 3), layer("w2", 1, 3, 3))
    edges = dict(layer_graph(plan_of(layers)).edges)
    wanted = {("w0", "w1"): 10, ("w1", "w2"): 3}
    assert {pair: data["values"] for pair, data in edges.items()} == wanted
