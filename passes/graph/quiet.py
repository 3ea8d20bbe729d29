"""Keep the chatter of the ONNX libraries off the user's terminal."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

import numpy as np

_NOISY_LOGGERS = ("onnx_ir", "onnxscript")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence log records below CRITICAL and numeric warnings of onnx_ir and onnxscript.

    They report every rule that did not apply; what concerns the user is raised by the
    passes themselves.
    """
    loggers = [logging.getLogger(name) for name in _NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
