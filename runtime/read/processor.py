"""Where the arithmetic of the simulated chip runs: the processor, CUDA or MPS."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from pimc.errors import UsageError

#: What can be named in place of a driver, and how torch tells whether it is there.
_AVAILABLE: Mapping[str, Callable[[], bool]] = {
    "cpu": lambda: True,
    "cuda": lambda: torch.cuda.is_available(),
    "mps": lambda: torch.backends.mps.is_available(),
}


def driver_and_processor(device: str) -> tuple[str, str]:
    """The driver that ``--device`` names, and what torch computes on.

    ``cuda``, ``cuda:1``, ``mps`` and ``cpu`` are the simulated chip computed there.

    Raises:
        UsageError: torch has no such processor here.
    """
    kind = device.partition(":")[0]
    if kind not in _AVAILABLE:
        return device, "cpu"
    _require(device, f"--device {device}")
    return "sim", device


def require_processor(device: str) -> None:
    """Make sure that torch computes there.

    Raises:
        UsageError: it is none of ``cpu``, ``cuda``, ``cuda:1`` and ``mps``, or torch has none here.
    """
    if device.partition(":")[0] not in _AVAILABLE:
        raise UsageError("no such processor", device, f"give one of {', '.join(_AVAILABLE)}")
    _require(device, device)


def _require(device: str, where: str) -> None:
    kind = device.partition(":")[0]
    number = _number(device, where) if kind == "cuda" else 0
    if not _AVAILABLE[kind]() or (kind == "cuda" and number >= torch.cuda.device_count()):
        raise UsageError(
            "torch finds no such processor here",
            where=where,
            hint="leave it out to compute on the CPU, or install a torch that supports it",
        )


def _number(device: str, where: str) -> int:
    number = device.partition(":")[2] or "0"
    if not number.isdecimal():
        raise UsageError("must be cuda or cuda:NUMBER", where=where)
    return int(number)
