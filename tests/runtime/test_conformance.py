"""The node suite of ONNX, generated from the installed onnx package, run by the executor."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from pimc.runtime.executor import Executor
from pimc.runtime.ops.values import to_numpy

SHARDS = 8

_RANDOM = "draws random numbers: only shape and type of the output are defined"
_HALF = "sums of half-precision numbers in another order: two of 192 values differ by one step"
_DFT = "the expected values hold rounding noise (1.9e-7) where the exact result is 0"

# Every case that does not pass, with the reason. A case that starts to pass must leave the list.
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
    "test_training_dropout": _RANDOM,
    "test_training_dropout_default": _RANDOM,
    "test_training_dropout_default_mask": _RANDOM,
    "test_training_dropout_mask": _RANDOM,
}
# Cases that fail or pass with the machine's arithmetic: neither outcome is an error.
MAY_PASS = frozenset(name for name, why in EXPECTED_FAILURES.items() if why in (_HALF, _DFT))


@cache
def _cases() -> tuple[Any, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy and onnx warn while they make the cases
        from onnx.backend.test.case.node import collect_testcases

        return tuple(collect_testcases())


def _shard(index: int) -> Iterator[Any]:
    yield from _cases()[index::SHARDS]


def _value(given: Any) -> Any:
    return onnx.numpy_helper.to_array(given) if isinstance(given, onnx.TensorProto) else given


def _same(expected: Any, got: Any, rtol: float, atol: float) -> None:
    if isinstance(expected, list):
        assert isinstance(got, list)
        assert len(expected) == len(got)
        for one, other in zip(expected, got, strict=True):
            _same(one, other, rtol, atol)
        return
    if expected is None:
        assert got is None
        return
    wanted, array = np.asarray(expected), to_numpy(got)
    assert array.shape == wanted.shape
    if wanted.dtype.kind in "OUS":
        assert array.astype(str).tolist() == wanted.astype(str).tolist()
        return
    assert array.dtype == wanted.dtype
    if array.dtype.name == "bfloat16":
        rtol = max(rtol, 2**-6)  # two steps, as ONNX's own runner allows
    if array.dtype.isbuiltin != 1:  # bfloat16 and narrower: compared in float32
        array, wanted = array.astype(np.float32), wanted.astype(np.float32)
    np.testing.assert_allclose(array, wanted, rtol=rtol, atol=atol)


def _run(case: Any) -> None:
    graph = case.model.graph
    executor = Executor(ir.from_proto(case.model))
    for inputs, outputs in case.data_sets:
        names = [value.name for value in graph.input]
        results = executor.run({n: _value(v) for n, v in zip(names, inputs, strict=True)})
        for info, expected in zip(graph.output, outputs, strict=True):
            _same(_value(expected), results[info.name], case.rtol, case.atol)


def failing(cases: Iterator[Any]) -> dict[str, str]:
    """Name and first line of the error of every case that does not pass."""
    failures: dict[str, str] = {}
    for case in cases:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # reference implementations warn of overflow
                _run(case)
        except Exception as error:
            failures[case.name] = f"{type(error).__name__}: {error}".strip()[:200]
    return failures


def count() -> tuple[int, int]:
    """(passed, all): the figures that the documentation states."""
    total = len(_cases())
    return total - len(failing(iter(_cases()))), total


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("index", range(SHARDS))
def test_the_failures_are_exactly_the_listed_ones(index: int) -> None:
    names = {case.name for case in _shard(index)}
    failures = failing(_shard(index))
    unexpected = {name: why for name, why in failures.items() if name not in EXPECTED_FAILURES}
    repaired = (EXPECTED_FAILURES.keys() & names) - failures.keys() - MAY_PASS
    assert unexpected == {}
    assert repaired == set()


def test_the_suite_is_large_enough_to_mean_something() -> None:
    names = {case.name for case in _cases()}
    assert len(names) - len(EXPECTED_FAILURES) >= 1300


def test_a_wrong_result_is_noticed() -> None:
    # the comparison itself must be able to fail: a Relu case checked against shifted values
    case = next(case for case in _cases() if case.name == "test_relu")
    executor = Executor(ir.from_proto(case.model))
    inputs, outputs = case.data_sets[0]
    result = executor.run({case.model.graph.input[0].name: inputs[0]})
    with pytest.raises(AssertionError):
        _same(outputs[0] + 1e-3, result[case.model.graph.output[0].name], case.rtol, case.atol)


if __name__ == "__main__":
    print("{} of {}".format(*count()))
