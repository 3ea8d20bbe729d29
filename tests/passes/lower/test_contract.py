"""Any product of an activation and a constant can be written for the array."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.passes.graph.frontend import load_model
from pimc.passes.lower.lowering import Lower
from pimc.passes.simplify.simplify import Simplify
from pimc.runtime.graph.executor import Executor
from tests.passes.lowered_nets import (
    model_of,
    node,
)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_einsum_of_an_activation_and_a_constant(data) -> None:
    axes = data.draw(st.permutations("abcde"))
    kinds = data.draw(
        st.lists(st.sampled_from(["free", "group", "column"]), min_size=1, max_size=4)
    )
    roles = dict(zip(axes, ["sum", *kinds], strict=False))
    size = {axis: data.draw(st.integers(1, 4)) for axis in roles}
    x = data.draw(st.permutations([a for a, role in roles.items() if role != "column"]))
    w = data.draw(st.permutations([a for a, role in roles.items() if role != "free"]))
    out = data.draw(st.permutations([a for a, role in roles.items() if role != "sum"]))
    equation = f"{''.join(x)},{''.join(w)}->{''.join(out)}"
    values, weight = (
        np.random.default_rng(0).standard_normal([size[a] for a in term]).astype(np.float32)
        for term in (x, w)
    )
    model = model_of(
        [node("Einsum", ["x", "w"], ["y"], equation=equation)],
        {"x": [*values.shape]},
        {"w": weight},
    )
    plan = Lower()(Simplify()(load_model(model)))
    assert "Einsum" not in {entry.op_type for entry in plan.graph.graph}
    (found,) = Executor(plan.graph).run({"x": torch.from_numpy(values)}).values()
    wanted = np.einsum(equation, values, weight)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)
