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
    if not _AVAILABLE[kind]() or (kind == "cuda" and _number(device) >= torch.cuda.device_count()):
        raise UsageError(
            "torch finds no such processor here",
            where=f"--device {device}",
            hint="leave it out to compute on the CPU, or install a torch that supports it",
        )
    return "sim", device


def _number(device: str) -> int:
    number = device.partition(":")[2] or "0"
    if not number.isdecimal():
        raise UsageError("must be cuda or cuda:NUMBER", where=f"--device {device}")
    return int(number)
