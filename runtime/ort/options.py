"""Options of ONNX Runtime's sessions: what is honoured, what changes nothing, what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pimc.errors import UsageError

__all__ = [
    "PROVIDERS",
    "Provider",
    "Providers",
    "check_run_options",
    "check_session_options",
    "providers_of",
]

#: Session options that would ask for something which is not done, and why it is not.
_REFUSED = {
    "enable_profiling": "profile the process with a Python profiler",
    "optimized_model_filepath": "`pimc compile --dump-dir` writes the graph after every pass",
}
#: Providers by name, and the torch device that each stands for.
PROVIDERS = {"CPUExecutionProvider": "cpu", "CUDAExecutionProvider": "cuda"}

Provider = str | tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Providers:
    """What computes the digital part, and the simulated chip.

    Attributes:
        names: providers in order of preference, as they were given.
        options: of each, by name; values as text.
        device: the torch device of the first.
    """

    names: tuple[str, ...] = ("CPUExecutionProvider",)
    options: Mapping[str, Mapping[str, str]] | None = None
    device: str = "cpu"


def check_session_options(options: Any) -> int | None:
    """How many threads ``onnxruntime.SessionOptions`` allow; None where they do not say.

    Raises:
        UsageError: not session options, or an option that is not offered is set.
    """
    if options is None:
        return None
    import onnxruntime as ort

    if not isinstance(options, ort.SessionOptions):
        raise UsageError(
            f"sess_options is a {type(options).__name__}, not onnxruntime.SessionOptions",
            hint="give a die or a device by its name: Session(image, die=…)",
        )
    for name, instead in _REFUSED.items():
        if getattr(options, name):
            raise UsageError(f"session option {name} is not offered", hint=instead)
    return options.intra_op_num_threads or None


def check_run_options(options: Any) -> None:
    """Raises:
    UsageError: not ``onnxruntime.RunOptions``, or they ask to terminate the run.
    """
    if options is None:
        return
    import onnxruntime as ort

    if not isinstance(options, ort.RunOptions):
        raise UsageError(
            f"run_options is a {type(options).__name__}, not onnxruntime.RunOptions",
            hint="leave it out",
        )
    if options.terminate:
        raise UsageError("the run was terminated before it began", hint="set terminate to False")


def providers_of(
    providers: Sequence[Provider] | None,
    options: Sequence[Mapping[str, Any]] | None,
    device: str | None = None,
) -> Providers:
    """The providers that ONNX Runtime's arguments name.

    Args:
        providers: names, or pairs of a name and its options.
        options: of each provider, where they are not in the pairs.
        device: torch device, where no providers are named.

    Raises:
        UsageError: a provider that is not offered, or options that do not go with the names.
    """
    if not providers:
        if options:
            raise UsageError("provider_options without providers", hint="give providers, too")
        name = next((n for n, kind in PROVIDERS.items() if (device or "").startswith(kind)), None)
        return Providers((name or "CPUExecutionProvider",), None, device or "cpu")
    if device is not None:
        raise UsageError("device and providers both say where to compute", hint="give one of them")
    if isinstance(providers, str) or any(
        not isinstance(entry, str) and len(entry) != 2 for entry in providers
    ):
        raise UsageError(
            "providers are no list of names, or of pairs of a name and its options",
            hint="providers=['CPUExecutionProvider']",
        )
    pairs: list[tuple[str, Mapping[str, Any]]] = [
        (entry, {}) if isinstance(entry, str) else entry for entry in providers
    ]
    if options is not None:
        if len(options) != len(pairs) or any(given for _, given in pairs):
            raise UsageError(
                "provider_options do not go with providers",
                hint="give one for each provider, in one of the two places",
            )
        pairs = [(name, given) for (name, _), given in zip(pairs, options, strict=True)]
    unknown = [name for name, _ in pairs if name not in PROVIDERS]
    if unknown:
        raise UsageError(
            f"provider {unknown[0]} is not offered", hint=f"give one of {', '.join(PROVIDERS)}"
        )
    first, chosen = pairs[0]
    device = PROVIDERS[first] + (f":{chosen['device_id']}" if "device_id" in chosen else "")
    return Providers(
        tuple(name for name, _ in pairs),
        {name: {key: str(value) for key, value in given.items()} for name, given in pairs},
        "cpu" if first == "CPUExecutionProvider" else device,
    )
