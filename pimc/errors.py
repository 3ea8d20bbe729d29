"""The one tree of errors a user can meet.

Every error says what is wrong, where, and how to mend it. The command line
prints it as one message and exits with the class's ``exit_code``.
"""

from __future__ import annotations

import re
from typing import ClassVar

#: What terminals obey instead of showing it.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
#: A word that nobody reads to its end, and one line of many words. Paths are shorter.
_LONG_WORD = re.compile(r"(\S{300})\S{300,}(\S{100})")
_LONG_LINE = re.compile(r"(.{1000}).{200,}")


def legible(text: str) -> str:
    """A text that quotes a file, fit to be printed, whatever the file holds.

    Control characters become escapes; what is too long to be read is cut short.
    """
    text = _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    return _LONG_LINE.sub(r"\1…", _LONG_WORD.sub(r"\1…\2", text))


class PimcError(Exception):
    """Base of all errors that pimc raises on purpose.

    Args:
        message: what is wrong, one sentence without a full stop.
        where: the file, key, node or tensor concerned.
        hint: how to mend it.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, where: str | None = None, hint: str | None = None) -> None:
        self.message = legible(message)
        self.where = None if where is None else legible(where)
        self.hint = None if hint is None else legible(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        """One line: ``where: message (hint)``."""
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text} ({self.hint})" if self.hint else text


class UsageError(PimcError):
    """An option or argument that cannot be used as given."""


class ModelError(PimcError):
    """An ONNX model that cannot be read or compiled."""


class ChipError(PimcError):
    """A chip description that is malformed or impossible."""


class DataError(PimcError):
    """Calibration, input or labelled data that cannot be used."""


class ImageError(PimcError):
    """A chip image that is damaged, altered or of another version."""


class CaptureError(PimcError):
    """A capture that is damaged or belongs to another image or die."""


class OtherImageError(CaptureError):
    """A capture, sound for all that is known, of another image than the one at hand."""


class RecoveryError(PimcError):
    """The checkpoint of a recovery that is damaged or belongs to another one."""


class PlanError(PimcError):
    """A plan that breaks a rule, a mistake of a pass; or a saved one that cannot be read."""


class DeviceError(PimcError):
    """The chip, die file or driver failed."""

    exit_code = 3


class WorkerError(PimcError):
    """Worker processes, or the cluster they belong to, failed."""

    exit_code = 3
