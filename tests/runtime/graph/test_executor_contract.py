"""What callers rely on: array nodes are theirs, gradient breaks and errors are named."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper
from torch.nn import functional

from pimc.errors import ModelError
from pimc.runtime.graph.executor import Executor
from tests.runtime.graph.text_models import executor_of, model_of

ARRAY_NET = """
f (float[N,4] x) => (float[N,3] y) {
  h = Relu (x)
  a = pimc.Array <layer="fc"> (h)
  y = Neg (a)
}
"""


class TestArray:
    MORE = ', "pimc" : 1'

    def test_array_nodes_go_to_the_callable_with_their_layer(self) -> None:
        w = torch.randn(4, 3)
        seen: list[str] = []

        def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
            seen.append(node.attributes["layer"].as_string())
            return x @ w

        executor = Executor(ir.from_proto(model_of(ARRAY_NET, self.MORE)), array=array)
        x = torch.randn(2, 4)
        torch.testing.assert_close(executor.run({"x": x})["y"], -(torch.relu(x) @ w))
        assert seen == ["fc"]

    def test_the_callable_of_a_run_wins(self) -> None:
        model = ir.from_proto(model_of(ARRAY_NET, self.MORE))
        executor = Executor(model, array=lambda _, x: x[:, :3])
        y = executor.run({"x": torch.ones(1, 4)}, array=lambda _, x: 5 * x[:, :3])["y"]
        assert y.tolist() == [[-5.0, -5.0, -5.0]]

    def test_without_a_callable_the_error_says_what_to_pass(self) -> None:
        with pytest.raises(ModelError, match="array") as caught:
            executor_of(ARRAY_NET, self.MORE).run({"x": torch.ones(1, 4)})
        assert caught.value.where == "a"
        assert "array=" in str(caught.value.hint)

    def test_errors_of_the_callable_are_its_own(self) -> None:
        def broken(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            executor_of(ARRAY_NET, self.MORE).run({"x": torch.ones(1, 4)}, array=broken)

    def test_values_are_forgotten_after_their_last_use(self) -> None:
        text = """
        f (float[N,4] x) => (float[N,4] y) {
          a = pimc.Array <layer="one"> (x)
          b = Neg (a)
          y = pimc.Array <layer="two"> (b)
        }
        """
        seen: list[weakref.ref[torch.Tensor]] = []

        def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
            if seen:
                assert seen[0]() is None
            result = x + 1
            seen.append(weakref.ref(result))
            return result

        executor_of(text, self.MORE).run({"x": torch.ones(1, 4)}, array=array)
        assert len(seen) == 2

    def test_gradients_pass_through_the_callable(self) -> None:
        w = torch.randn(4, 3, requires_grad=True)
        x = torch.rand(2, 4)
        y = executor_of(ARRAY_NET, self.MORE).run({"x": x}, array=lambda _, v: v @ w)["y"]
        y.sum().backward()
        assert w.grad is not None
        torch.testing.assert_close(w.grad, -x.sum(0)[:, None].expand(4, 3))


# MaxRoiPool has no torch function: ONNX Runtime executes it
BROKEN_NET = """
f (float[1,2,6,6] x, float[R,5] rois) => (float[R,2,2,2] y, float[1,2,6,6] z) {
  a = Mul (x, w)
  p = MaxRoiPool <pooled_shape=[2,2]> (a, rois)
  y = Mul (p, v)
  z = Relu (a)
}
"""


GAIN = np.full((1, 2, 1, 1), 2.0, np.float32)
ROIS = torch.tensor([[0.0, 0.0, 0.0, 3.0, 3.0]])


CODES: dict[str, Any] = {
    "s": np.array(0.5, np.float32),
    "z": np.array(3, np.uint8),
    "k": np.array([-1]),
}


class TestGradientBreaks:
    def executor(self) -> Executor:
        return executor_of(BROKEN_NET, w=GAIN, v=np.full((1,), 3.0, np.float32))

    def test_a_fallback_node_between_weight_and_output_is_named(self) -> None:
        found = self.executor().gradient_breaks(["w"])
        assert [node.op_type for node in found] == ["MaxRoiPool"]

    def test_a_weight_behind_it_is_free(self) -> None:
        assert self.executor().gradient_breaks(["v"]) == []

    def test_an_output_before_it_is_free(self) -> None:
        assert self.executor().gradient_breaks(["w"], ["z"]) == []

    def test_the_fallback_computes_and_its_backward_raises(self) -> None:
        w = torch.from_numpy(GAIN).clone().requires_grad_()
        x = torch.randn(1, 2, 6, 6)
        executor = self.executor()
        y = executor.run({"x": x, "rois": ROIS, "w": w}, want=["y"])["y"]
        torch.testing.assert_close(
            y.detach(), 6 * functional.max_pool2d(x[:, :, :4, :4], 2), rtol=1e-5, atol=1e-5
        )
        with pytest.raises(ModelError, match="MaxRoiPool") as caught:
            y.sum().backward()
        assert caught.value.where == "p"

    @pytest.mark.parametrize("moved", ["c = Identity (q)", "c = Reshape (q, k)"])
    def test_a_gradient_passes_straight_through_codes(self, moved: str) -> None:
        text = f"""
        f (float[N] x) => (float[N] y) {{
          q = QuantizeLinear (x, s, z)
          {moved}
          d = DequantizeLinear (c, s, z)
          y = Mul (d, d)
        }}
        """
        executor = executor_of(text, **CODES)
        assert executor.gradient_breaks(["x"]) == []
        x = torch.tensor([-10.0, -1.4, 0.3, 2.6, 200.0])
        plain = executor.run({"x": x})["y"]
        trained = executor.run({"x": x.requires_grad_()})["y"]
        assert trained.tolist() == plain.tolist()
        trained.sum().backward()
        # 2 d, with d on the grid of 0.5, and nothing where a code is clipped.
        assert x.grad is not None
        assert x.grad.tolist() == [0.0, -3.0, 1.0, 5.0, 0.0]

    def test_a_gradient_passes_straight_through_codes_of_their_own_range(self) -> None:
        text = """
        f (float[N] x) => (float[N] y) {
          q, s, z = DynamicQuantizeLinear (x)
          y = DequantizeLinear (q, s, z)
        }
        """
        executor = executor_of(text)
        assert executor.gradient_breaks(["x"]) == []
        for values in ([-1.0, 0.25, 3.0], [0.5, 2.0, 4.0], [0.0, 0.0, 0.0]):
            x = torch.tensor(values)
            plain = executor.run({"x": x})["y"]
            trained = executor.run({"x": x.requires_grad_()})["y"]
            if any(values):
                torch.testing.assert_close(trained, plain)
            trained.sum().backward()
            assert x.grad is not None
            assert x.grad.tolist() == [1.0, 1.0, 1.0]

    @pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16])
    @pytest.mark.parametrize(
        ("nodes", "named"),
        [
            ("c = Reshape (q, k)\n d = DequantizeLinear (c, s, z)\n y = Floor (d)", "Floor"),
            ("c = Cast <to=6> (q)\n d = Cast <to=1> (c)\n y = Neg (d)", "Cast"),
            ("c = Mul (q, q)\n y = DequantizeLinear (c, s, z)", "Mul"),
        ],
    )
    def test_what_ends_a_gradient_behind_codes_is_named(
        self, nodes: str, named: str, kind: Any
    ) -> None:
        text = f"f (float[N] x) => (float[N] y) {{ q = QuantizeLinear (x, s, z)\n {nodes} }}"
        model = model_of(text, **CODES | {"z": np.array(3, kind)})
        model.opset_import[0].version = 21
        inferred = onnx.shape_inference.infer_shapes(model)
        executor = Executor(ir.from_proto(inferred))
        assert [n.op_type for n in executor.gradient_breaks(["x"])] == [named]

    def test_a_quantizer_of_other_codes_is_named(self) -> None:
        text = """
        f (float[N] x) => (float[N] y) {
          q = QuantizeLinear <output_dtype=17> (x, s)
          y = DequantizeLinear (q, s)
        }
        """
        model = model_of(text, s=np.array(0.5, np.float32))
        model.opset_import[0].version = 21
        executor = Executor(ir.from_proto(model))
        assert [n.op_type for n in executor.gradient_breaks(["x"])] == ["QuantizeLinear"]

    def test_shapes_are_no_gradient_path(self) -> None:
        text = """
        f (float[N,2] x) => (float[N,2] y) {
          s = Shape (x)
          n = Cast <to=1> (s)
          m = ReduceMean <keepdims=0> (n)
          y = Mul (x, m)
        }
        """
        assert executor_of(text).gradient_breaks(["x"]) == []

    @pytest.mark.parametrize(
        ("nodes", "found"),
        [
            (f"b = {operator} (a)", [operator])
            for operator in ("Round", "Floor", "Ceil", "Sign", "Hardmax")
        ]
        + [
            ("i = Cast <to=7> (a)\n b = Cast <to=1> (i)", ["Cast"]),
            ("i = CastLike (a, k)\n b = Cast <to=1> (i)", ["CastLike"]),
            ("i = Cast <to=22> (a)\n b = Cast <to=1> (i)", ["Cast"]),
            ("i = ArgMax <keepdims=1> (a)\n b = Cast <to=1> (i)", ["ArgMax"]),
            ("i = BitCast <to=6> (a)\n b = Cast <to=1> (i)", ["BitCast"]),
            ("r = Floor (a)\n b = Sub (a, r)", ["Floor"]),
        ],
    )
    def test_what_has_no_slope_is_named(self, nodes: str, found: list[str]) -> None:
        text = f"f (float[2,3] x) => (float[2,N] y) {{ a = Mul (x, x)\n {nodes}\n y = Neg (b) }}"
        model = model_of(text, k=np.zeros(1, np.int64))
        model.opset_import[0].version = 26
        executor = Executor(ir.from_proto(model))
        assert [node.op_type for node in executor.gradient_breaks(["x"])] == found
        assert executor.gradient_breaks(["x"], ["a"]) == []

    @pytest.mark.parametrize(
        "nodes",
        [
            "i = Cast <to=7> (a)\n y = Gather (w, i)",
            "i = ArgMax (a)\n y = Gather (w, i)",
            "r = Round (a)\n i = Cast <to=7> (r)\n y = Reshape (w, i)",
            "r = Round (a)\n s = Shape (r)\n y = Reshape (w, s)",
            "r = Floor (a)\n c = Greater (r, a)\n y = Where (c, w, a)",
            "c = Cast <to=9> (a)\n y = Where (c, w, a)",
            "i = Cast <to=7> (a)\n v = Concat <axis=0> (z, z)\n y = OneHot (i, n, v)",
            "i = Round (a)",
        ],
    )
    def test_where_a_value_goes_is_no_gradient_path(self, nodes: str) -> None:
        last = "" if " y = " in nodes else "\n y = Neg (a)"
        executor = executor_of(
            f"f (float[3] x) => (float[N] y) {{ a = Mul (x, x)\n {nodes}{last} }}",
            w=np.ones(3, np.float32),
            z=np.ones(1, np.float32),
            n=np.array(4),
        )
        assert executor.gradient_breaks(["x"]) == []

    def test_inside_a_branch(self) -> None:
        text = """
        f (float[1,2,6,6] x, float[R,5] rois, bool c) => (float[R,2,2,2] y) {
          y = If (c) <
            then_branch = a () => (float[R,2,2,2] t) {
              t = MaxRoiPool <pooled_shape=[2,2]> (x, rois)
            },
            else_branch = b () => (float[R,2,2,2] e) {
              e = MaxRoiPool <pooled_shape=[2,2], spatial_scale=0.5> (x, rois)
            }>
        }
        """
        found = executor_of(text).gradient_breaks(["x"])
        assert [node.op_type for node in found] == ["MaxRoiPool", "MaxRoiPool"]

    def test_an_unknown_name_is_refused(self) -> None:
        with pytest.raises(ModelError, match="'nothing'"):
            self.executor().gradient_breaks(["nothing"])


class TestErrors:
    @pytest.mark.parametrize(
        ("operator", "more", "named"),
        [
            ("lab.Mystery", ', "lab" : 1', "Mystery of domain 'lab'"),
            ("Rellu", "", "Rellu"),
        ],
    )
    def test_an_unknown_operator(self, operator: str, more: str, named: str) -> None:
        text = f"f (float[N] x) => (float[N] y) {{ h = Relu (x)\n y = {operator} (h) }}"
        with pytest.raises(ModelError, match=named) as caught:
            executor_of(text, more)
        assert caught.value.where == "y"
        assert caught.value.hint

    def test_an_operator_that_onnxruntime_lacks_too(self) -> None:
        text = "f (float[N] x) => (float[N] y) { y = com.microsoft.NoSuchThing (x) }"
        executor = executor_of(text, ', "com.microsoft" : 1')
        with pytest.raises(ModelError, match="NoSuchThing") as caught:
            executor.run({"x": torch.ones(1)})
        assert caught.value.where == "y"

    def test_a_missing_input(self) -> None:
        with pytest.raises(ModelError, match="'x'") as caught:
            executor_of("f (float[N] x) => (float[N] y) { y = Relu (x) }").run({})
        assert "'x'" in str(caught.value.hint)

    def test_an_input_that_is_not_needed_may_be_missing(self) -> None:
        text = "f (float[N] x, float[N] z) => (float[N] y) { y = Relu (x)\n u = Relu (z) }"
        assert executor_of(text).run({"x": torch.ones(1)})["y"].tolist() == [1.0]

    @pytest.mark.parametrize("where", ["input", "want"])
    def test_a_name_the_model_does_not_have(self, where: str) -> None:
        executor = executor_of("f (float[N] x) => (float[N] y) { y = Relu (x) }")
        inputs = {"x": torch.ones(1)} | ({"typo": torch.ones(1)} if where == "input" else {})
        with pytest.raises(ModelError, match="'typo'"):
            executor.run(inputs, want=["typo"] if where == "want" else None)

    def test_shapes_that_do_not_fit_name_the_node_and_the_shapes(self) -> None:
        executor = executor_of(
            "f (float[N,4] x) => (float[N,3] y) { h = Relu (x)\n y = MatMul (h, w) }",
            w=np.ones((4, 3), np.float32),
        )
        with pytest.raises(ModelError, match=r"MatMul.*\[2, 5\], \[4, 3\]") as caught:
            executor.run({"x": torch.ones(2, 5)})
        assert caught.value.where == "y"

    def test_nodes_in_a_wrong_order(self) -> None:
        text = "f (float[N] x) => (float[N] y) { y = Relu (h)\n h = Neg (x) }"
        with pytest.raises(ModelError, match="'h'"):
            executor_of(text)

    def test_an_output_that_inference_does_not_have(self) -> None:
        nodes = [
            helper.make_node(
                "BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "running", "spread"]
            )
        ]
        floats = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 2] if n == "x" else [2])
            for n in ["x", "s", "b", "m", "v"]
        ]
        outputs = [helper.make_tensor_value_info("running", TensorProto.FLOAT, [2])]
        graph = helper.make_graph(nodes, "g", floats, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
        ones = torch.ones(2)
        feeds = {"x": torch.ones(1, 2), "s": ones, "b": ones, "m": ones, "v": ones}
        with pytest.raises(ModelError, match="'running'"):
            Executor(ir.from_proto(model)).run(feeds)
