"""ONNX's own conformance suite, and the interface that it runs through."""

from __future__ import annotations

import contextlib
import io
import unittest
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import pimc.onnx_backend as backend
from pimc.chip.design import Chip
from pimc.errors import ModelError, UsageError

_RANDOM = "draws random numbers: only shape and type of the output are defined"
_HALF = "sums of half-precision numbers in another order: two of 192 values differ by one step"
_DFT = "the expected values hold rounding noise (1.9e-7) where the exact result is 0"
_TRAINING = "operators of training, which no inference runtime has"
_RUNNER = "ONNX's runner takes the length of a scalar in the expected sequence"

#: Every case that does not pass, with the reason. A case that starts to pass must leave the list.
EXPECTED_FAILURES = {
    "test_attention_4d_causal_fp16": _HALF,
    "test_attention_4d_causal_fp16_expanded": _HALF,
    "test_bernoulli": _RANDOM,
    "test_bernoulli_double": _RANDOM,
    "test_bernoulli_double_expanded": _RANDOM,
    "test_bernoulli_expanded": _RANDOM,
    "test_bernoulli_seed": _RANDOM,
    "test_bernoulli_seed_expanded": _RANDOM,
    "test_dft_inverse": _DFT,
    "test_dft_inverse_opset19": _DFT,
    "test_gradient_of_add": _TRAINING,
    "test_gradient_of_add_and_mul": _TRAINING,
    "test_loop16_seq_none": _RUNNER,
    "test_training_dropout": _RANDOM,
    "test_training_dropout_default": _RANDOM,
    "test_training_dropout_default_mask": _RANDOM,
    "test_training_dropout_mask": _RANDOM,
}
#: Cases that fail or pass with the machine's arithmetic: neither outcome is an error.
MAY_PASS = frozenset(name for name, why in EXPECTED_FAILURES.items() if why in (_HALF, _DFT))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def _suite() -> tuple[int, frozenset[str]]:
    """How many cases there are, and those that fail."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # numpy and onnx warn while cases are made and run
        import onnx.backend.test

        suite = onnx.backend.test.BackendTest(backend.PimcBackend, __name__).test_suite
        result = unittest.TestResult()
        with contextlib.redirect_stdout(io.StringIO()):
            suite.run(result)
    bad = {test.id().rpartition(".")[2] for test, _ in result.errors + result.failures}
    return result.testsRun - len(result.skipped), frozenset(n.removesuffix("_cpu") for n in bad)


def test_the_failures_are_exactly_the_listed_ones() -> None:
    _, failures = _suite()
    assert failures - EXPECTED_FAILURES.keys() == set()
    assert EXPECTED_FAILURES.keys() - failures - MAY_PASS == set()


def test_the_documentation_states_the_counts() -> None:
    count, _ = _suite()
    text = (Path(__file__).parents[2] / "docs" / "operators.md").read_text(encoding="utf-8")
    passed = count - len(EXPECTED_FAILURES)
    assert f"{passed:,} of its {count:,} cases" in " ".join(text.split())


def product(weight: np.ndarray[Any, Any]) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_digital_or_on_the_arrays_of_a_perfect_die() -> None:
    rng = np.random.default_rng(0)
    weight, x = (rng.standard_normal(s).astype(np.float32) for s in ((4, 3), (64, 4)))
    digital, named = (backend.prepare(product(weight)).run(v)[0] for v in ([x], {"x": x}))
    np.testing.assert_allclose(digital, x @ weight, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(digital, named)
    (found,) = backend.prepare(product(weight), chip=Chip.default()).run([x])
    away = np.square(found - digital).mean() / digital.var()
    assert 0 < away < 0.02


def test_one_node() -> None:
    node = helper.make_node("Add", ["a", "b"], ["c"])
    (found,) = backend.run_node(node, [np.array([1.0, 2.0]), np.array([3.0, 4.0])])
    np.testing.assert_array_equal(found, [4, 6])


def test_what_is_refused() -> None:
    model = product(np.ones((4, 3), np.float32))
    with pytest.raises(UsageError, match="CUDA"):
        backend.prepare(model, "CUDA")
    model.graph.node[0].domain = "lab"
    model.opset_import.append(helper.make_opsetid("lab", 1))
    with pytest.raises(ModelError, match="lab"):
        backend.run_model(model, [np.ones((1, 4), np.float32)])
