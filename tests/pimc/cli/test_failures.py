"""Every failure is one message with its exit code."""

from __future__ import annotations

import pytest

from pimc.chip.design import Chip
from pimc.cli.failures import TerminatedError
from pimc.errors import DeviceError, ModelError


def raising(error: BaseException, monkeypatch) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(Chip, "shipped", fail)


#: What torch says.
NO_MEMORY = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)"
)


def wrapped(cause: Exception) -> Exception:
    """An error of the executor about an operator that failed for this reason."""
    error = ModelError("operator Conv failed", where="y")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (DeviceError("no answer", "lab", "switch it on"), 3, "error: lab: no answer\n  hint: swit"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (OSError(28, "No space left on device", "a.pimc"), 2, "error: a.pimc: No space left on d"),
        (MemoryError(), 2, "error: not enough memory\n"),
        (NO_MEMORY, 2, "error: not enough memory: you tried to allocate 9 bytes."),
        (wrapped(NO_MEMORY), 2, "error: not enough memory: you tried to allocate 9 bytes."),
        (RuntimeError("CUDA out of memory."), 2, "error: not enough memory: CUDA out of"),
        (RuntimeError("odd"), 2, "error: internal error: RuntimeError: odd\n  hint: PIMC_DEBUG=1"),
    ],
)
def test_every_failure_has_its_exit_code(pimc, monkeypatch, error, code, text) -> None:
    raising(error, monkeypatch)
    done = pimc("chips")
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(text)
    assert pimc("chips", "--json").json["error"]["exit_code"] == code


def test_debug_shows_the_traceback(pimc, monkeypatch) -> None:
    raising(RuntimeError("odd"), monkeypatch)
    monkeypatch.setenv("PIMC_DEBUG", "1")
    done = pimc("chips")
    assert done.code == 2
    assert "Traceback" in done.err
    assert "RuntimeError: odd" in done.err


def test_being_told_to_end_is_no_other_interrupt(pimc, monkeypatch) -> None:
    raising(TerminatedError(), monkeypatch)
    done = pimc("chips")
    assert (done.code, done.out, done.err) == (143, "", "error: terminated\n")


@pytest.mark.parametrize(("cause", "code"), [(KeyboardInterrupt(), 130), (TerminatedError(), 143)])
def test_an_interrupt_that_a_compiled_module_makes_something_else_of(
    pimc, monkeypatch, cause: BaseException, code: int
) -> None:
    error = ImportError("initialization failed")
    error.__cause__ = cause
    raising(error, monkeypatch)
    assert pimc("chips").code == code
