"""What ``onnxruntime.InferenceSession`` has beside ``run`` and its descriptions of values.

docs/session.md lists every public method of it: the same here, different, or refused by name.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import numpy.typing as npt

from pimc.errors import UsageError
from pimc.runtime.ort.binding import IOBinding
from pimc.runtime.ort.options import Providers

if TYPE_CHECKING:
    from onnxruntime import OrtValue, SessionOptions

__all__ = ["ModelMetadata", "OrtMethods"]

Outputs = list[npt.NDArray[Any]]


@dataclass(frozen=True)
class ModelMetadata:
    """What a model says of itself; same fields as ``onnxruntime.ModelMetadata``."""

    producer_name: str = ""
    graph_name: str = ""
    graph_description: str = ""
    description: str = ""
    domain: str = ""
    version: int = 0
    custom_metadata_map: Mapping[str, str] = field(default_factory=dict)


class OrtMethods(ABC):
    """The methods, in terms of ``run`` and ``get_outputs``."""

    _options: SessionOptions | None
    _providers: Providers

    @abstractmethod
    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: Any = None,
    ) -> Outputs:
        """Outputs for inputs."""

    @abstractmethod
    def get_outputs(self) -> Sequence[Any]:
        """Descriptions of the outputs."""

    def run_async(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        callback: Callable[[Outputs, Any, str], None],
        user_data: Any,
        run_options: Any = None,
    ) -> None:
        """Run in a thread of its own, which then calls ``callback(outputs, user_data, error)``.

        ``error`` is empty where the run succeeded; else it is the message, and there are no
        outputs.
        """

        def work() -> None:
            try:
                found, error = self.run(output_names, input_feed, run_options), ""
            except Exception as cause:  # whatever it is, the callback is waited for
                found, error = [], str(cause) or type(cause).__name__
            callback(found, user_data, error)

        threading.Thread(target=work, name="pimc run_async").start()

    def io_binding(self) -> IOBinding:
        """Inputs and outputs to be bound."""
        return IOBinding([arg.name for arg in self.get_outputs()])

    def run_with_iobinding(self, iobinding: IOBinding, run_options: Any = None) -> None:
        """Run on what is bound.

        Raises:
            UsageError: as ``run``; no output is bound, or one does not fit what it is bound to.
        """
        names = iobinding.wanted
        if not names:
            raise UsageError("no output is bound", hint="call bind_output")
        found = self.run(names, iobinding.inputs, run_options)
        iobinding.take(dict(zip(names, found, strict=True)))

    def run_with_ort_values(
        self,
        output_names: Sequence[str] | None,
        input_dict_ort_values: Mapping[str, OrtValue],
        run_options: Any = None,
    ) -> list[OrtValue]:
        """``run`` from and to ``OrtValue`` s."""
        from onnxruntime import OrtValue

        feed = {name: value.numpy() for name, value in input_dict_ort_values.items()}
        found = self.run(output_names, feed, run_options)
        return [OrtValue.ortvalue_from_numpy(value) for value in found]

    def get_session_options(self) -> SessionOptions:
        """The options that were given, or ONNX Runtime's own where none were."""
        from onnxruntime import SessionOptions

        return self._options or SessionOptions()

    def get_providers(self) -> list[str]:
        """Names of what computes the digital part, and the chip where it is simulated."""
        return list(self._providers.names)

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        """Options of the providers, by name."""
        given = self._providers.options or {}
        return {name: dict(given.get(name, {})) for name in self._providers.names}

    def get_overridable_initializers(self) -> list[Any]:
        """None: weights are in cells, and other constants are part of the image."""
        return []

    def get_tuning_results(self) -> list[Any]:
        """None: nothing is tuned when a session runs."""
        return []

    def disable_fallback(self) -> None:  # noqa: B027  # doing nothing is what it does
        """Nothing to switch off: a provider that fails is never replaced by another."""

    def enable_fallback(self) -> None:
        """Refused: what was asked to run on one device never runs on another in silence."""
        _refused("enable_fallback", "catch the error, and open a session on another provider")

    def set_providers(self, providers: Any = None, provider_options: Any = None) -> None:
        """Refused: a session's cells are loaded for its device."""
        _refused("set_providers", "open a session with these providers")

    def set_tuning_results(self, results: Any, *, error_on_invalid: bool = False) -> None:
        """Refused: nothing is tuned."""
        _refused("set_tuning_results", "leave it out: nothing is tuned")

    def set_ep_dynamic_options(self, options: Mapping[str, str]) -> None:
        """Refused: the providers have none."""
        _refused("set_ep_dynamic_options", "give options to the session")

    def end_profiling(self) -> str:
        """Refused: there is no profile."""
        _refused("end_profiling", "profile the process with a Python profiler")

    def get_profiling_start_time_ns(self) -> int:
        """Refused: there is no profile."""
        _refused("get_profiling_start_time_ns", "profile the process with a Python profiler")

    def run_with_ortvaluevector(self, *arguments: Any) -> None:
        """Refused: the vector is a class of ONNX Runtime's own."""
        _refused("run_with_ortvaluevector", "use run_with_ort_values")

    def create_ortvalue_from_shape_and_type(self, *arguments: Any, **named: Any) -> OrtValue:
        """Refused: memory is not the session's."""
        _refused("create_ortvalue_from_shape_and_type", "use OrtValue.ortvalue_from_shape_and_type")

    def get_input_epdevices(self) -> list[Any]:
        """Refused: inputs are arrays in the memory of the processor."""
        _refused("get_input_epdevices", "give arrays")

    def get_input_memory_infos(self) -> list[Any]:
        """Refused: inputs are arrays in the memory of the processor."""
        _refused("get_input_memory_infos", "give arrays")

    def get_output_memory_infos(self) -> list[Any]:
        """Refused: outputs are arrays in the memory of the processor."""
        _refused("get_output_memory_infos", "take arrays")

    def get_provider_graph_assignment_info(self) -> list[Any]:
        """Refused: what lies on the array is the image's, not a provider's, to say."""
        _refused("get_provider_graph_assignment_info", "see Session.image.layers, or `pimc info`")

    def release_captured_graph(self, graph_annotation_id: int = 0) -> None:
        """Refused: no graph is captured."""
        _refused("release_captured_graph", "leave it out: no graph is captured")


def _refused(name: str, instead: str) -> NoReturn:
    raise UsageError(f"Session.{name} is not offered", hint=instead)
