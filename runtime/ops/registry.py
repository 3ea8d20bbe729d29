"""The table of ONNX operators that are written in torch, one function each.

A function takes the node's inputs as positional parameters (``None`` where an
optional one is missing) and its attributes as keyword-only parameters under
their ONNX names; the defaults are those of the ONNX specification. It returns
one value, or a tuple with one entry an output.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from pimc.runtime.ops.values import float_or, torch_dtype_of

OpFunction = Callable[..., Any]
_F = TypeVar("_F", bound=OpFunction)


class NotNative(Exception):  # noqa: N818  (control flow, not an error)
    """Raised by an operator function for a case it does not cover.

    The executor then tries the operator's ONNX function body, then ONNX Runtime.
    """


@dataclass(frozen=True)
class OpContext:
    """What an operator may need beyond its inputs and attributes.

    Args:
        device: where new tensors are put.
        dtype: the torch type that stands for ONNX's FLOAT.
        outputs: for every output of the node, whether anybody named it.
    """

    device: torch.device
    dtype: torch.dtype
    outputs: tuple[bool, ...]

    def torch_dtype(self, onnx_dtype: int) -> torch.dtype:
        """Torch type for an ONNX element type.

        Raises:
            NotNative: when torch has no such type.
        """
        dtype = torch_dtype_of(onnx_dtype)
        if dtype is None:
            raise NotNative(f"element type {onnx_dtype}")
        return float_or(dtype, self.dtype)


@dataclass(frozen=True)
class OpSpec:
    """One entry of the registry.

    Args:
        function: the operator.
        since: first opset version with these semantics.
        host: positions of inputs that are read as Python numbers (shapes, axes),
            so that they never travel to an accelerator.
        exotic: whether unsigned wide integers, 8-bit floats and lists are accepted.
        opaque: whether numpy arrays (strings, 4-bit types) are accepted: values are
            only handed on.
        gradient: False when the outputs carry no gradient by definition.
        attributes: the ONNX attributes the function knows; None accepts all.
        needs_context: whether the function takes ``ctx``.
    """

    function: OpFunction
    since: int
    host: frozenset[int]
    exotic: bool
    opaque: bool
    gradient: bool
    attributes: frozenset[str] | None
    needs_context: bool

    def knows(self, names: Iterable[str]) -> bool:
        """Whether the function takes all these attributes."""
        return self.attributes is None or self.attributes.issuperset(names)


_REGISTRY: dict[tuple[str, str], list[OpSpec]] = {}


def register(
    name: str,
    function: OpFunction,
    *,
    since: int = 1,
    domain: str = "",
    host: tuple[int, ...] = (),
    exotic: bool = False,
    opaque: bool = False,
    gradient: bool = True,
) -> None:
    """Enter ``function`` as operator ``name`` from opset ``since`` on."""
    keywords = _keyword_only(function)
    spec = OpSpec(
        function=function,
        since=since,
        host=frozenset(host),
        exotic=exotic,
        opaque=opaque,
        gradient=gradient,
        attributes=None if keywords is None else frozenset(keywords - {"ctx"}),
        needs_context=keywords is not None and "ctx" in keywords,
    )
    variants = _REGISTRY.setdefault((domain, name), [])
    variants.append(spec)
    variants.sort(key=lambda entry: entry.since)


def op(name: str, **options: Any) -> Callable[[_F], _F]:
    """Decorator form of :func:`register`."""

    def enter(function: _F) -> _F:
        register(name, function, **options)
        return function

    return enter


def lookup(domain: str, name: str, opset: int) -> OpSpec | None:
    """The newest variant not newer than ``opset``; None when there is none."""
    found = [s for s in _REGISTRY.get((domain, name), ()) if s.since <= opset]
    return found[-1] if found else None


def registered() -> tuple[tuple[str, str, int], ...]:
    """All entries as sorted (domain, operator, first opset) triples."""
    return tuple(
        sorted(
            (domain, name, spec.since)
            for (domain, name), specs in _REGISTRY.items()
            for spec in specs
        )
    )


def _keyword_only(function: OpFunction) -> set[str] | None:
    """Names of the keyword-only parameters, None when any keyword is taken."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # torch built-ins carry no signature and take no attributes
        return set()
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return None
    return {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
