"""One node run by ONNX Runtime: the last resort, on the CPU and without gradients.

What ONNX Runtime lacks (2- to 8-bit types, rare operators) is left to ONNX's own
reference implementation in numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch

from pimc.errors import ModelError
from pimc.runtime.graph.functions import domain_of, node_proto, schema_of
from pimc.runtime.ops.values import float_or, from_numpy, onnx_dtype_of, to_numpy

# Domains whose operators ONNX's schemas do not describe but ONNX Runtime has.
RUNTIME_DOMAINS = frozenset({"com.microsoft"})

_IR_VERSION = 10  # every ONNX Runtime that pimc supports reads it
# Opset 22 only added bfloat16 to the types of many operators: where ONNX Runtime has no
# kernel of that version, the one before means the same.
_TYPES_ONLY = 22

_HIDDEN_TYPES = ("float8", "float4", "int4", "int2", "bfloat16")

# Runs arrays (None for a missing input) to the arrays of the named outputs.
Runner = Callable[[Sequence[Any]], list[Any]]


def type_proto(value: Any, *, ranked: bool = True) -> onnx.TypeProto:
    """ONNX type of a value: element type and rank, sizes left open."""
    if value is None:
        return onnx.TypeProto()
    if isinstance(value, list):
        entry = type_proto(value[0], ranked=False) if value else _tensor_type(1, None)
        return onnx.helper.make_sequence_type_proto(entry)
    return _tensor_type(onnx_dtype_of(value), value.ndim if ranked else None)


def _tensor_type(element: int, rank: int | None) -> onnx.TypeProto:
    shape = None if rank is None else [None] * rank
    return onnx.helper.make_tensor_type_proto(element, shape)


def type_key(value: Any) -> tuple[Any, ...] | None:
    """What a session or a function body depends on: kind, element type, rank."""
    if value is None:
        return None
    if isinstance(value, list):
        return ("sequence", type_key(value[0]) if value else None)
    return (onnx_dtype_of(value), value.ndim)


def output_name(node: ir.Node) -> str:
    """Name of the node's first named output: how messages refer to a node."""
    return next((value.name for value in node.outputs if value.name), node.name or node.op_type)


class Fallback:
    """Runs one node outside torch; what runs it is kept for every combination of input types.

    Args:
        node: the node.
        attributes: its attributes, free of references.
        opset: the opset version of the node's domain.
        device: where results are put.
        dtype: the torch type that stands for ONNX's FLOAT.
    """

    def __init__(
        self,
        node: ir.Node,
        attributes: Sequence[ir.Attr],
        opset: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._node = node
        self._attributes = tuple(attributes)
        self._domain = domain_of(node)
        self._opset = opset
        self._device = device
        self._dtype = dtype
        self._runners: dict[tuple[Any, ...], Runner] = {}

    def __call__(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Outputs of the node, None for those nobody named.

        Raises:
            ModelError: when nothing can run the node.
        """
        arrays = [_host(value) for value in values]
        key = tuple(type_key(value) for value in arrays)
        known = self._runners.get(key)
        if known is None:
            self._runners[key], results = self._first_run(arrays)
        else:
            try:
                results = known(arrays)
            except Exception as error:
                raise self._refusal([error]) from error
        named = iter(results)
        outputs = [self._back(next(named)) if v.name else None for v in self._node.outputs]
        return tuple(self._guarded(output, values) for output in outputs)

    def _first_run(self, arrays: Sequence[Any]) -> tuple[Runner, list[Any]]:
        """The first way that works for these types, and what it returned.

        Only a run shows whether ONNX Runtime has the kernel and can hand its result over.
        """
        failures: list[Exception] = []
        for open_runner in self._ways(arrays):
            try:
                runner = open_runner(arrays)
                return runner, runner(arrays)
            except Exception as error:  # each library has exceptions of its own
                failures.append(error)
        raise self._refusal(failures) from failures[0]

    def _ways(self, arrays: Sequence[Any]) -> list[Callable[[Sequence[Any]], Runner]]:
        ways: list[Callable[[Sequence[Any]], Runner]] = []
        if all(map(_plain, arrays)):
            ways += [partial(self._runtime, version=v) for v in self._versions()]
            if self._dtype == torch.float64:
                ways += [partial(self._narrowed, version=v) for v in self._versions()]
        if self._domain not in RUNTIME_DOMAINS:
            ways.append(self._reference)
        return ways

    def _versions(self) -> list[int]:
        """Opset versions to try: the oldest of the same meaning is the most widely known."""
        schema = schema_of(self._domain, self._node.op_type, self._opset)
        if schema is None:
            return [self._opset]
        if self._domain or schema.since_version != _TYPES_ONLY:
            return [int(schema.since_version)]
        before = schema_of(self._domain, self._node.op_type, _TYPES_ONLY - 1)
        return [_TYPES_ONLY] + ([int(before.since_version)] if before else [])

    def _model(self, arrays: Sequence[Any], version: int) -> onnx.ModelProto:
        proto = node_proto(self._node, self._attributes, [value is not None for value in arrays])
        inputs = [
            onnx.helper.make_value_info(f"i{k}", type_proto(value))
            for k, value in enumerate(arrays)
            if value is not None
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in proto.output if name]
        graph = onnx.helper.make_graph([proto], "node", inputs, outputs)
        model = onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid(self._domain, version)]
        )
        model.ir_version = _IR_VERSION
        return model

    def _runtime(self, arrays: Sequence[Any], version: int) -> Runner:
        import onnxruntime  # only here: most models never need it

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            self._model(arrays, version).SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
        )
        for output in session.get_outputs():  # numpy would show them as plain integers
            if any(word in output.type for word in _HIDDEN_TYPES):
                raise TypeError(f"ONNX Runtime cannot hand over {output.type}")
        return lambda values: list(session.run(None, _feeds(values)))

    def _narrowed(self, arrays: Sequence[Any], version: int) -> Runner:
        """ONNX Runtime in float32, for kernels it has in no other type."""
        runner = self._runtime([_narrow(value) for value in arrays], version)
        return lambda values: runner([_narrow(value) for value in values])

    def _reference(self, arrays: Sequence[Any]) -> Runner:
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(self._model(arrays, self._opset))
        return lambda values: list(evaluator.run(None, _feeds(values)))

    def _refusal(self, failures: Sequence[Exception]) -> ModelError:
        reason = str(failures[0]).strip() or type(failures[0]).__name__
        return ModelError(
            f"operator {self._node.op_type} can be run neither in torch nor by ONNX Runtime: "
            f"{reason.splitlines()[0]}",
            where=output_name(self._node),
            hint="replace the node by operators that `pimc ops` lists",
        )

    def _back(self, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, list):
            return [self._back(entry) for entry in value]
        result = from_numpy(np.asarray(value))
        if not isinstance(result, torch.Tensor):
            return result
        return result.to(self._device, float_or(result.dtype, self._dtype))

    def _guarded(self, output: Any, values: Sequence[Any]) -> Any:
        if isinstance(output, list):
            return [self._guarded(entry, values) for entry in output]
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            return output
        tracked = [v for v in _tensors(values) if v.requires_grad]
        if not tracked or not torch.is_grad_enabled():
            return output
        where = (self._node.op_type, output_name(self._node))
        return _Guard.apply(output, where, *tracked)  # type: ignore[no-untyped-call]


class _Guard(torch.autograd.Function):
    """Identity whose backward pass is an error: a gradient is never cut silently."""

    @staticmethod
    def forward(ctx: Any, result: torch.Tensor, where: tuple[str, str], *_: Any) -> torch.Tensor:
        ctx.where = where
        return result.clone()

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        op_type, output = ctx.where
        raise ModelError(
            f"no gradient passes through operator {op_type}, which ONNX Runtime executes",
            where=output,
            hint="train only values behind this node, or replace it by differentiable operators",
        )


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list):
            yield from _tensors(value)


def _host(value: Any) -> Any:
    if isinstance(value, list):
        return [_host(entry) for entry in value]
    return None if value is None else to_numpy(value)


def _plain(value: Any) -> bool:
    """Whether numpy itself has the element type, so that ONNX Runtime takes it."""
    if isinstance(value, list):
        return all(map(_plain, value))
    return value is None or value.dtype.isbuiltin == 1


def _narrow(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return value.astype(np.float32)
    return value


def _feeds(arrays: Sequence[Any]) -> dict[str, Any]:
    return {f"i{k}": value for k, value in enumerate(arrays) if value is not None}
