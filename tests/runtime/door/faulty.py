"""A chip seen through a bad driver: what it does wrong, call by call, and what is to be said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pimc.image.image import Image
from pimc.runtime.door.sim_driver import SimDriver


@dataclass(frozen=True)
class Fault:
    """What a driver does in one of its calls.

    Attributes:
        call: in which.
        what: in words.
        answer: what it makes of the right answer; it may raise.
        told: a pattern of what a user is to be told.
    """

    call: str
    what: str
    answer: Callable[[Any], Any]
    told: str

    def __str__(self) -> str:
        return f"{self.call} {self.what}"


def raising(error: BaseException) -> Callable[[Any], Any]:
    def answer(right: Any) -> Any:
        raise error

    return answer


ERRORS: tuple[tuple[str, BaseException, str], ...] = (
    ("timeout", TimeoutError("no answer within 5 s"), "TimeoutError: no answer within 5 s"),
    ("oserror", OSError(5, "Input/output error"), "OSError: .*Input/output error"),
    ("reset", ConnectionResetError(104, "reset by peer"), "ConnectionResetError: .*reset by peer"),
    ("pipe", BrokenPipeError(32, "Broken pipe"), "BrokenPipeError: .*Broken pipe"),
    ("runtime", RuntimeError("SCPI error\n-350"), "RuntimeError: SCPI error$"),
    ("torch", RuntimeError("can't allocate memory: 1"), "RuntimeError: can't allocate memory"),
    ("memory", MemoryError("driver buffer"), "MemoryError: driver buffer"),
    ("empty", TimeoutError(), "TimeoutError$"),
    ("exit", SystemExit(0), "SystemExit$"),
)
RAISED = tuple(
    Fault(call, what, raising(error), f"{call}: {told}")
    for call in ("program", "written", "read")
    for what, error, told in ERRORS
)
TOOK = (
    Fault("program", "ints", lambda ok: ok.astype(int), r"gave int64 \[\d+\] instead of"),
    Fault("program", "short", lambda ok: ok[:-1], r"gave bool \[\d+\] instead of"),
    Fault("program", "one for all", lambda ok: ok[:1], r"gave bool \[1\] instead of"),
    Fault("program", "two axes", lambda ok: np.stack([ok, ok]), r"gave bool \[2, \d+\] instead of"),
    Fault("program", "None", lambda ok: None, "gave None instead of"),
    Fault("program", "True", lambda ok: True, "gave True instead of"),
    Fault("program", "a list", lambda ok: ok.tolist(), "gave a value of type list instead of"),
)
WRITTEN = (
    Fault("written", "None", lambda found: None, "gave None instead of"),
    Fault("written", "one for all", lambda found: found[:1], r"gave int64 \[1\] instead of"),
    Fault("written", "floats", lambda found: found * 1.0, r"gave float64 \[\d+\] instead of"),
    Fault("written", "99", lambda found: found * 0 + 99, r"levels from 99 to 99, .* 0 to 15"),
    Fault("written", "-2", lambda found: found * 0 - 2, r"levels from -2 to -2, .* 0 to 15"),
    Fault("written", "unsigned", lambda found: (found * 0 - 1).astype(np.uint16), "to 65535"),
)
READ = (
    Fault("read", "nan", lambda codes: codes * float("nan"), "codes of .* that are not finite"),
    Fault("read", "inf", lambda codes: codes + float("inf"), "codes of .* that are not finite"),
    Fault("read", "beyond", lambda codes: codes * 1000, "from .* to .*, and the converter's are"),
    Fault("read", "fractions", lambda codes: codes * 0 + 0.5, "codes of .* no whole numbers"),
    Fault("read", "a column short", lambda codes: codes[:, :, :-1], r"gave float32 \[.*\] instead"),
    Fault("read", "one column", lambda codes: codes[:, :, :1], r"gave float32 \[.*\] instead of"),
    Fault("read", "an axis short", lambda codes: codes[0], r"gave float32 \[.*\] instead of"),
    Fault("read", "halves", lambda codes: codes.half(), r"gave float16 \[.*\] instead of float32"),
    Fault("read", "bools", lambda codes: codes > 0, r"gave bool \[.*\] instead of float32"),
    Fault("read", "sparse", lambda codes: codes.to_sparse(), r"gave sparse_coo float32 \[.*\]"),
    Fault("read", "None", lambda codes: None, "gave None instead of a tensor"),
    Fault("read", "a list", lambda codes: codes.tolist(), "gave a value of type list instead of"),
)
_COUNTED = iter(range(10**6))
NAMES = (
    Fault("name", "changes", lambda name: f"{name}{next(_COUNTED)}", "gave 'lab.*', and 'lab"),
    Fault("name", "None", lambda name: None, "gave None instead of a text"),
    Fault("name", "empty", lambda name: "", "instead of a text"),
    Fault("name", "raises", raising(OSError("no bench")), "name: OSError: no bench"),
)
FAULTS = (*RAISED, *TOOK, *WRITTEN, *READ, *NAMES)
#: Answers that are taken, and give what the right ones give.
AS_GOOD = (
    Fault("read", "an array", lambda codes: codes.numpy(), ""),
    Fault("read", "float64", lambda codes: codes.double(), ""),
    Fault("read", "int16", lambda codes: codes.short(), ""),
    Fault("read", "an array of ints", lambda codes: codes.numpy().astype(">i2"), ""),
    Fault("read", "on the tape", lambda codes: codes.clone().requires_grad_(), ""),
    Fault("written", "int16", lambda found: found.astype(np.int16), ""),
)
SOUND = Fault("", "sound", lambda right: right, "")


class Faulty:
    """A simulated die behind a driver that does something wrong.

    Args:
        inner: the die.
        fault: what it does.
        after: so many times the call goes well before.
        path: where the die is saved whenever it was written: a chip keeps its cells by itself.
    """

    def __init__(
        self, inner: Any, fault: Fault = SOUND, *, after: int = 0, path: Path | None = None
    ) -> None:
        self.inner, self.fault, self.after, self.path = inner, fault, after, path

    @staticmethod
    def opened(
        image: Image, die: Path | None, seed: int, fault: Fault, *, after: int = 0
    ) -> Faulty:
        """The die in a file, or a new one."""
        return Faulty(SimDriver.open(image, die=die, seed=seed), fault, after=after, path=die)

    def _answer(self, call: str, right: Any) -> Any:
        if call != self.fault.call:
            return right
        self.after -= 1
        return right if self.after >= 0 else self.fault.answer(right)

    @property
    def name(self) -> str:
        name: str = self._answer("name", "lab7")
        return name

    def program(self, cells: Any, levels: Any) -> Any:
        ok = self.inner.program(cells, levels)
        if self.path is not None:
            self.inner.save(self.path)
        return self._answer("program", ok)

    def written(self, cells: Any) -> Any:
        return self._answer("written", self.inner.written(cells))

    def read(self, region: Any, inputs: Any) -> Any:
        return self._answer("read", self.inner.read(region, inputs))
