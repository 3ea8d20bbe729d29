"""PyTorch in: a module is exported to ONNX in memory, by torch's own exporter.

Nothing here imports torch before somebody hands over something of torch.
"""

from __future__ import annotations

import inspect
import io
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from pimc.errors import ModelError, UsageError
from pimc.passes.graph.quiet import quiet

if TYPE_CHECKING:
    import torch
    from typing_extensions import TypeIs

    Examples = torch.Tensor | npt.NDArray[Any] | Sequence[Any] | Mapping[str, Any]

__all__ = ["exported", "is_module", "is_program", "program_model"]

_PAGE = "docs/from-pytorch.md"
#: Samples of an example that is taken from data: with one, torch takes the number for fixed.
EXAMPLES = 2


def is_module(model: object) -> TypeIs[torch.nn.Module | torch.export.ExportedProgram]:
    """Whether this is what torch's exporter takes: a module, or an exported program."""
    torch = sys.modules.get("torch")
    kinds = () if torch is None else (torch.nn.Module, torch.export.ExportedProgram)
    return isinstance(model, kinds)


def is_program(model: object) -> TypeIs[torch.onnx.ONNXProgram]:
    """Whether this is a ``torch.onnx.ONNXProgram``."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.onnx.ONNXProgram)


def program_model(program: torch.onnx.ONNXProgram, name: str | None = None) -> ir.Model:
    """The network of an ONNX program, a copy of its own.

    Where the exporter met each operator, paths of this machine among it, is left out: the same
    network gives the same bytes.

    Args:
        name: what the network is called; as the program says if None.
    """
    with quiet():
        model = ir.from_proto(ir.to_proto(program.model))
        ClearMetadataAndDocStringPass()(model)
    if name is not None:
        model.graph.name = name
    return model


def exported(
    module: torch.nn.Module | torch.export.ExportedProgram, examples: Examples | None
) -> ir.Model:
    """A PyTorch module as an ONNX network with a free batch axis.

    The module is exported as it is in ``eval()``, and left as it was.

    Args:
        examples: a tensor or array, several of them in the order of ``forward``, or by the names
            of its arguments; samples first. An exported program needs none.

    Raises:
        UsageError: no example inputs.
        ModelError: the exporter fails.
    """
    import torch

    name = type(module).__name__
    if isinstance(module, torch.export.ExportedProgram):
        return program_model(_guarded(name, lambda: _export(module, None)))
    if examples is None:
        raise UsageError(
            "a PyTorch module is exported with example inputs",
            where=name,
            hint="give example_inputs=x, samples first, or calibration data",
        )
    given = _Inputs(module, examples)
    with _evaluating(module):
        return program_model(_guarded(name, lambda: _export(module, given)), name)


class _Inputs:
    """Example inputs as torch's exporter takes them: positional, by name, and their names."""

    def __init__(self, module: torch.nn.Module, examples: Examples) -> None:
        torch = sys.modules["torch"]
        if isinstance(examples, torch.Tensor | np.ndarray):
            examples = (examples,)
        self.by_name: dict[str, Any] = {}
        self.positional: tuple[Any, ...] = ()
        if isinstance(examples, Mapping):
            self.by_name = {name: torch.as_tensor(value) for name, value in examples.items()}
            self.names = list(self.by_name)
        else:
            self.positional = tuple(torch.as_tensor(value) for value in examples)
            self.names = _parameters(module)[: len(self.positional)]

    def shapes(self, batch: object) -> Any:
        """Which axes are free: the first of every input that has one."""

        def free(value: Any) -> dict[int, object]:
            return {0: batch} if value.dim() else {}

        if self.by_name:
            return {name: free(value) for name, value in self.by_name.items()}
        return tuple(free(value) for value in self.positional)


def _export(module: Any, given: _Inputs | None) -> torch.onnx.ONNXProgram:
    import torch

    # A function of many forms, of which this one always gives a program.
    export: Callable[..., torch.onnx.ONNXProgram] = cast("Any", torch.onnx.export)
    if given is None:
        return export(module, dynamo=True, verbose=False)
    return export(
        module,
        given.positional,
        kwargs=given.by_name or None,
        input_names=given.names or None,
        dynamic_shapes=given.shapes(torch.export.Dim("batch")),
        dynamo=True,
        verbose=False,
    )


def _guarded(name: str, export: Callable[[], torch.onnx.ONNXProgram]) -> torch.onnx.ONNXProgram:
    try:
        with _silent():
            return export()
    except Exception as error:  # whatever the module's own code or the exporter raises
        raise ModelError(
            f"PyTorch's exporter fails: {_told(error)}",
            where=name,
            hint=f"{_PAGE} says what can be exported",
        ) from error


def _told(error: BaseException) -> str:
    """The first line that the innermost cause says, which is where the fault lies."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = (line.strip() for line in str(error).splitlines())
    first = next((line for line in lines if line), type(error).__name__)
    return first.rstrip(".: ")


@contextmanager
def _silent() -> Iterator[None]:
    """The exporter logs, warns of itself and prints graphs; what fails is told by its error."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with quiet(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


@contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """The module in ``eval()`` for a while, every part of it as it was afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _parameters(module: torch.nn.Module) -> list[str]:
    """Names of what ``forward`` takes one by one; none where it takes any number."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    taken = inspect.signature(module.forward).parameters.values()
    return [each.name for each in taken if each.kind in kinds]
