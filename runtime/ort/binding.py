"""Inputs and outputs that are bound once and used run after run, as ``onnxruntime.IOBinding``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pimc.errors import UsageError

if TYPE_CHECKING:
    from onnxruntime import OrtValue

__all__ = ["IOBinding"]


class IOBinding:
    """Bound inputs and outputs; ``Session.io_binding`` makes one.

    Values lie in the memory of the processor: that is where the digital part takes them from.
    """

    def __init__(self, outputs: Sequence[str]) -> None:
        self._known = tuple(outputs)
        self.inputs: dict[str, npt.NDArray[Any]] = {}
        self._wanted: dict[str, OrtValue | None] = {}
        self._given: list[npt.NDArray[Any]] = []

    def bind_cpu_input(self, name: str, arr_on_cpu: npt.NDArray[Any]) -> None:
        """Bind an input to an array."""
        self.inputs[name] = arr_on_cpu

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """Bind an input to an ``OrtValue``."""
        self.inputs[name] = ortvalue.numpy()

    def bind_input(
        self,
        name: str,
        device_type: str,
        device_id: int,
        element_type: Any,
        shape: Sequence[int],
        buffer_ptr: int,
    ) -> None:
        """Not offered: an address is no array, and nothing can be said of what lies there.

        Raises:
            UsageError: always.
        """
        raise UsageError("bind_input is not offered", hint="use bind_cpu_input with an array")

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """Ask for an output; memory for it is made by the run.

        Raises:
            UsageError: a device other than the processor, or memory that is given by its address.
        """
        if device_type != "cpu" or buffer_ptr is not None:
            raise UsageError(
                "outputs are bound to memory of the processor, by name",
                where=name,
                hint="leave out device_type and buffer_ptr, or use bind_ortvalue_output",
            )
        self._wanted[self._checked(name)] = None

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """Ask for an output that each run writes into an ``OrtValue``."""
        self._wanted[self._checked(name)] = ortvalue

    def get_outputs(self) -> list[OrtValue]:
        """The outputs of the last run, in the order in which they were bound."""
        from onnxruntime import OrtValue

        values = zip(self._wanted.values(), self._given, strict=False)
        return [OrtValue.ortvalue_from_numpy(new) if old is None else old for old, new in values]

    def copy_outputs_to_cpu(self) -> list[npt.NDArray[Any]]:
        """The outputs of the last run as arrays, in the order in which they were bound."""
        return [value.copy() for value in self._given]

    def get_outputs_as_ortvaluevector(self) -> Any:
        """Not offered: the vector is a class of ONNX Runtime's own.

        Raises:
            UsageError: always.
        """
        raise UsageError("get_outputs_as_ortvaluevector is not offered", hint="use get_outputs")

    def synchronize_inputs(self) -> None:
        """Nothing to wait for: a run reads its inputs when it begins."""

    def synchronize_outputs(self) -> None:
        """Nothing to wait for: a run returns when its outputs are there."""

    def clear_binding_inputs(self) -> None:
        """Bind no inputs."""
        self.inputs.clear()

    def clear_binding_outputs(self) -> None:
        """Bind no outputs."""
        self._wanted.clear()
        self._given = []

    @property
    def wanted(self) -> list[str]:
        """Names of the outputs that are bound."""
        return list(self._wanted)

    def take(self, outputs: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep what a run gave; ``OrtValue`` s that outputs are bound to are written to.

        Raises:
            UsageError: an output does not fit what it is bound to.
        """
        from onnxruntime import OrtValue

        for name, bound in self._wanted.items():
            if bound is None:
                continue
            kind = OrtValue.ortvalue_from_numpy(outputs[name]).data_type()
            if bound.data_type() != kind:
                raise UsageError(
                    f"output {name} is a {kind}, it is bound to a {bound.data_type()}",
                    hint="bind it to an OrtValue of its type, or by bind_output",
                )
            if tuple(bound.shape()) != np.shape(outputs[name]):
                raise UsageError(
                    f"output {name} has shape {list(np.shape(outputs[name]))}, "
                    f"it is bound to {bound.shape()}",
                    hint="bind it to an OrtValue of its shape, or by bind_output",
                )
        for name, bound in self._wanted.items():
            if bound is not None:
                bound.update_inplace(outputs[name])
        self._given = [outputs[name] for name in self._wanted]

    def _checked(self, name: str) -> str:
        if name not in self._known:
            raise UsageError(
                f"no such output: {name}", hint=f"outputs are {', '.join(self._known)}"
            )
        return name
