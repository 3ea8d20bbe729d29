"""The executor at its public interface: values, devices, gradients."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pimc.errors import ModelError
from pimc.runtime.graph.executor import Executor
from tests.runtime.graph.text_models import executor_of, model_of


def weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)


def onnxruntime_of(model: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, feeds))


CONV_NET = """
net (float[N,3,8,8] x) => (float[N,5] y) {
  a = Conv <kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]> (x, w1, b1)
  n = BatchNormalization (a, scale, shift, mean, var)
  r = Relu (n)
  p = MaxPool <kernel_shape=[2,2], strides=[2,2]> (r)
  g = GlobalAveragePool (r)
  m = Mul (p, g)
  f = Flatten (m)
  y = Gemm <transB=1> (f, w2, b2)
}
"""


def conv_net(seed: int = 0) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    arrays = {
        "w1": weights(rng, 6, 3, 3, 3),
        "b1": weights(rng, 6),
        "scale": weights(rng, 6),
        "shift": weights(rng, 6),
        "mean": weights(rng, 6),
        "var": np.abs(weights(rng, 6)) + 0.1,
        "w2": weights(rng, 5, 24),
        "b2": weights(rng, 5),
    }
    return model_of(CONV_NET, **arrays), arrays


ATTENTION = """
block (float[N,S,12] x) => (float[N,S,12] y) {
  n = LayerNormalization <axis=-1> (x, gain, shift)
  qkv = MatMul (n, w_in)
  q0, k0, v0 = Split <axis=2, num_outputs=3> (qkv)
  shape = Shape (x)
  zero = Constant <value_ints=[0]> ()
  two = Constant <value_ints=[2]> ()
  lead = Slice (shape, zero, two)
  heads = Constant <value_ints=[3,4]> ()
  split = Concat <axis=0> (lead, heads)
  q1 = Reshape (q0, split)
  k1 = Reshape (k0, split)
  v1 = Reshape (v0, split)
  q = Transpose <perm=[0,2,1,3]> (q1)
  k = Transpose <perm=[0,2,3,1]> (k1)
  v = Transpose <perm=[0,2,1,3]> (v1)
  scores = MatMul (q, k)
  half = Constant <value_float=0.5> ()
  scaled = Mul (scores, half)
  p = Softmax <axis=-1> (scaled)
  o = MatMul (p, v)
  t = Transpose <perm=[0,2,1,3]> (o)
  joined = Reshape (t, shape)
  out = MatMul (joined, w_out)
  e = Erf (out)
  one = Constant <value_float=1.0> ()
  e1 = Add (e, one)
  act = Mul (out, e1)
  y = Add (x, act)
}
"""


def attention(seed: int = 0) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    arrays = {
        "gain": weights(rng, 12) + 1,
        "shift": weights(rng, 12),
        "w_in": weights(rng, 12, 36),
        "w_out": weights(rng, 12, 12),
    }
    return model_of(ATTENTION, **arrays), arrays


def attention_in_torch(x: torch.Tensor, w: dict[str, torch.Tensor]) -> torch.Tensor:
    n = functional.layer_norm(x, (12,), w["gain"], w["shift"], 1e-5)
    heads = [t.unflatten(-1, (3, 4)).transpose(1, 2) for t in (n @ w["w_in"]).chunk(3, dim=-1)]
    q, k, v = heads
    p = torch.softmax(q @ k.transpose(-1, -2) * 0.5, dim=-1)
    out = (p @ v).transpose(1, 2).flatten(2) @ w["w_out"]
    return x + out * (torch.erf(out) + 1)


class TestValues:
    @settings(max_examples=8, deadline=None)
    @given(seed=st.integers(0, 2**16), batch=st.integers(1, 4))
    def test_a_conv_net_agrees_with_onnxruntime_at_any_batch(self, seed: int, batch: int) -> None:
        model, _ = conv_net(seed)
        x = np.random.default_rng(seed).standard_normal((batch, 3, 8, 8)).astype(np.float32)
        got = Executor(ir.from_proto(model)).run({"x": torch.from_numpy(x)})["y"]
        np.testing.assert_allclose(got, onnxruntime_of(model, x=x)[0], rtol=1e-4, atol=1e-5)

    @settings(max_examples=8, deadline=None)
    @given(seed=st.integers(0, 2**16), batch=st.integers(1, 3), steps=st.integers(1, 6))
    def test_an_attention_block_agrees_with_onnxruntime(
        self, seed: int, batch: int, steps: int
    ) -> None:
        model, _ = attention(seed)
        x = np.random.default_rng(seed).standard_normal((batch, steps, 12)).astype(np.float32)
        got = Executor(ir.from_proto(model)).run({"x": torch.from_numpy(x)})["y"]
        np.testing.assert_allclose(got, onnxruntime_of(model, x=x)[0], rtol=1e-4, atol=1e-5)

    def test_one_executor_serves_changing_batches(self) -> None:
        executor = Executor(ir.from_proto(attention()[0]))
        shapes = [(2, 3, 12), (5, 1, 12), (1, 7, 12)]
        assert [tuple(executor.run({"x": torch.ones(s)})["y"].shape) for s in shapes] == shapes

    def test_want_returns_intermediates_and_exactly_them(self) -> None:
        executor = Executor(ir.from_proto(conv_net()[0]))
        values = executor.run({"x": torch.randn(2, 3, 8, 8)}, want=["r", "f"])
        assert sorted(values) == ["f", "r"]
        assert values["r"].shape == (2, 6, 4, 4)
        assert float(values["r"].min()) == 0.0

    def test_inputs_initializers_and_duplicates_can_be_wanted(self) -> None:
        model, arrays = conv_net()
        x = torch.ones(1, 3, 8, 8)
        values = Executor(ir.from_proto(model)).run({"x": x}, want=["x", "w2", "y", "y"])
        assert torch.equal(values["x"], x)
        np.testing.assert_array_equal(values["w2"], arrays["w2"])

    def test_a_given_intermediate_cuts_the_graph(self) -> None:
        executor = Executor(ir.from_proto(conv_net()[0]))
        x = torch.randn(2, 3, 8, 8)
        whole = executor.run({"x": x}, want=["f", "y"])
        assert torch.equal(executor.run({"f": whole["f"]})["y"], whole["y"])

    def test_an_initializer_can_be_replaced(self) -> None:
        model, arrays = conv_net()
        executor = Executor(ir.from_proto(model))
        x = torch.randn(1, 3, 8, 8)
        shifted = executor.run({"x": x, "b2": torch.from_numpy(arrays["b2"] + 1)})["y"]
        torch.testing.assert_close(shifted, executor.run({"x": x})["y"] + 1)

    def test_inputs_are_not_changed(self) -> None:
        x = torch.randn(2, 3, 8, 8)
        before = x.clone()
        Executor(ir.from_proto(conv_net()[0])).run({"x": x})
        assert torch.equal(x, before)

    def test_float64_runs_the_whole_model_in_float64(self) -> None:
        text = """
        f (float[N] x) => (float[N] y) {
          c = Constant <value_float=0.1> ()
          i = Cast <to=7> (x)
          d = Cast <to=1> (i)
          s = Add (d, c)
          t = Mul (x, s)
          y = LayerNormalization (t, w)
        }
        """
        model = model_of(text, w=np.full(4, 1 / 3, np.float32))
        x = torch.tensor([1.5, -2.25, 3.0, 7.125])
        executor = Executor(ir.from_proto(model), dtype=torch.float64)
        values = executor.run({"x": x}, want=["c", "d", "y"])
        assert {v.dtype for v in values.values()} == {torch.float64}
        # a float32 number stays that number: only arithmetic is wider
        assert values["c"].item() == float(np.float32(0.1))
        expected = Executor(ir.from_proto(model)).run({"x": x})["y"]
        torch.testing.assert_close(values["y"].float(), expected)

    def test_float64_survives_a_kernel_that_knows_float32_only(self) -> None:
        domain = ', "com.microsoft" : 1'
        text = "f (float[N] x) => (float[N] y) { y = com.microsoft.QuickGelu <alpha=1.0> (x) }"
        executor = Executor(ir.from_proto(model_of(text, domain)), dtype=torch.float64)
        x = torch.tensor([1.0, -2.0], dtype=torch.float64)
        y = executor.run({"x": x})["y"]
        assert y.dtype == torch.float64
        torch.testing.assert_close(y, x * torch.sigmoid(x), rtol=1e-6, atol=1e-6)

    def test_model_functions_are_expanded_with_their_attributes(self) -> None:
        text = """
        f (float[N] x) => (float[N] y) { y = local.scaled <alpha=3.0> (x) }
        <domain: "local", opset_import: ["" : 18]>
        scaled <alpha: float = 2.0> (a) => (b) {
          k = Constant <value_float: float = @alpha> ()
          b = Mul (a, k)
        }
        """
        executor = executor_of(text, ', "local" : 1')
        assert executor.run({"x": torch.tensor([2.0])})["y"].tolist() == [6.0]

    def test_loops_and_branches_see_the_values_around_them(self) -> None:
        text = """
        f (float[N] x, int64 n, bool double) => (float[N] y, float[T,N] all) {
          true = Constant <value = bool {1}> ()
          total, all = Loop (n, true, x) <body = step (int64 i, bool c, float[N] s)
            => (bool c2, float[N] s2, float[N] shown) {
              c2 = Identity (c)
              s2 = Add (s, x)
              shown = Mul (s2, w)
            }>
          y = If (double) <
            then_branch = two () => (float[N] t) { t = Add (total, total) },
            else_branch = one () => (float[N] e) { e = Identity (total) }>
        }
        """
        executor = executor_of(text, w=np.array([10.0], np.float32))
        feeds = {"x": torch.tensor([1.0, 2.0]), "n": torch.tensor(3)}
        values = executor.run({**feeds, "double": torch.tensor(True)})
        assert values["y"].tolist() == [8.0, 16.0]
        assert values["all"].tolist() == [[20.0, 40.0], [30.0, 60.0], [40.0, 80.0]]
        assert executor.run({**feeds, "double": torch.tensor(False)})["y"].tolist() == [4.0, 8.0]


class TestDevice:
    # The meta device computes shapes only, but refuses tensors of two devices in one
    # operator as an accelerator would.
    @pytest.mark.parametrize("build", [conv_net, attention])
    def test_data_moves_to_the_device_and_shapes_stay(
        self, build: Callable[[], tuple[onnx.ModelProto, object]]
    ) -> None:
        model = build()[0]
        x = torch.ones((2, 3, 8, 8) if build is conv_net else (2, 5, 12))
        executor = Executor(ir.from_proto(model), device="meta")
        y = executor.run({"x": x})["y"]
        assert y.device.type == "meta"
        assert y.shape == Executor(ir.from_proto(model)).run({"x": x})["y"].shape
        if build is attention:
            shapes = executor.run({"x": x}, want=["shape", "split"])
            assert shapes["split"].device.type == "cpu"
            assert shapes["split"].tolist() == [2, 5, 3, 4]

    def test_indices_meet_data_on_the_device(self) -> None:
        text = """
        f (float[N,4] x) => (float[N,2] y) {
          i = Constant <value_ints=[0,-1]> ()
          g = Gather <axis=1> (x, i)
          f = Cast <to=1> (i)
          y = Mul (g, f)
        }
        """
        model = ir.from_proto(model_of(text))
        y = Executor(model, device="meta").run({"x": torch.ones(3, 4)})["y"]
        assert (y.device.type, tuple(y.shape)) == ("meta", (3, 2))


class TestGradients:
    def test_conv_batchnorm_relu_gemm(self) -> None:
        model, arrays = conv_net()
        names = ["w1", "b1", "scale", "shift", "w2", "b2"]
        ours = {n: torch.from_numpy(arrays[n]).clone().requires_grad_() for n in names}
        theirs = {n: torch.from_numpy(arrays[n]).clone().requires_grad_() for n in names}
        x = torch.randn(3, 3, 8, 8)
        Executor(ir.from_proto(model)).run({"x": x, **ours})["y"].square().sum().backward()
        a = functional.conv2d(x, theirs["w1"], theirs["b1"], stride=2, padding=1)
        n = functional.batch_norm(
            a,
            torch.from_numpy(arrays["mean"]),
            torch.from_numpy(arrays["var"]),
            theirs["scale"],
            theirs["shift"],
            eps=1e-5,
        )
        r = torch.relu(n)
        m = functional.max_pool2d(r, 2) * r.mean((2, 3), keepdim=True)
        functional.linear(m.flatten(1), theirs["w2"], theirs["b2"]).square().sum().backward()
        for name in names:
            torch.testing.assert_close(ours[name].grad, theirs[name].grad, rtol=1e-4, atol=1e-4)

    def test_attention_layernorm_and_gelu(self) -> None:
        model, arrays = attention()
        ours = {n: torch.from_numpy(a).clone().requires_grad_() for n, a in arrays.items()}
        theirs = {n: torch.from_numpy(a).clone().requires_grad_() for n, a in arrays.items()}
        x = torch.randn(2, 5, 12)
        Executor(ir.from_proto(model)).run({"x": x, **ours})["y"].square().sum().backward()
        attention_in_torch(x, theirs).square().sum().backward()
        for name in arrays:
            torch.testing.assert_close(ours[name].grad, theirs[name].grad, rtol=1e-4, atol=1e-4)

    def test_a_function_body_carries_gradients(self) -> None:
        # Attention has no torch function here: it runs through ONNX's body
        text = "f (float[2,3,4,8] q) => (float[2,3,4,8] y) { y = Attention (q, k, v) }"
        rng = np.random.default_rng(0)
        k, v = weights(rng, 2, 3, 5, 8), weights(rng, 2, 3, 5, 8)
        model = model_of(text, k=k, v=v)
        model.opset_import[0].version = 23
        executor = Executor(ir.from_proto(model))
        q = torch.randn(2, 3, 4, 8)
        key = torch.from_numpy(k).clone().requires_grad_()
        executor.run({"q": q, "k": key})["y"].square().sum().backward()
        twin = torch.from_numpy(k).clone().requires_grad_()
        y = functional.scaled_dot_product_attention(q, twin, torch.from_numpy(v))
        y.square().sum().backward()
        torch.testing.assert_close(key.grad, twin.grad, rtol=1e-4, atol=1e-5)
        assert executor.gradient_breaks(["k"]) == []

    def test_rounding_gives_zero_gradient(self) -> None:
        executor = executor_of("f (float[N] x) => (float[N] y) { y = Round (x) }")
        x = torch.tensor([0.4, 1.6], requires_grad=True)
        executor.run({"x": x})["y"].sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [0.0, 0.0]


def test_onnxruntime_is_imported_only_when_a_node_needs_it() -> None:
    program = (
        "import sys, pimc.runtime.graph.executor, pimc.runtime.ops;"
        "sys.exit(any(m in sys.modules for m in ('onnxruntime', 'onnx.reference')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_whole_numbers_may_come_as_floats(kind: str) -> None:
    element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "net",
        [onnx.helper.make_tensor_value_info("x", element, [2])],
        [onnx.helper.make_tensor_value_info("y", element, [2])],
    )
    executor = Executor(ir.from_proto(onnx.helper.make_model(graph)))
    found = executor.run({"x": torch.tensor([3.0, 30521.0])})["y"]
    assert found.dtype == getattr(torch, kind)
    assert found.tolist() == [3, 30521]


FORKED = """
net (float[N,4] x) => (float[N,4] y) {
  a = Relu (x)
  b = Neg (a)
  c = Exp (b)
  d = Add (a, c)
  y = Tanh (d)
}
"""


def test_a_run_goes_on_from_what_is_known_at_a_value() -> None:
    executor = executor_of(FORKED)
    x = torch.from_numpy(weights(np.random.default_rng(0), 3, 4))
    (whole,) = executor.run({"x": x}).values()
    at = {"x": x}
    for value, known in (("a", ("a",)), ("b", ("a", "b")), ("c", ("a", "c")), ("d", ("d",))):
        needed = executor.known_at(value, at, ["y"])
        assert needed == known
        at = executor.run(at, want=needed)
        assert torch.equal(executor.run(at, want=["y"])["y"], whole)
    assert executor.known_at("y", at, ["y"]) == ("y",)
    with pytest.raises(ModelError, match="nothing"):
        executor.known_at("nothing", ["x"], ["y"])
