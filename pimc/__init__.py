"""pimc: the deployment compiler for multi-level RRAM compute-in-memory chips.

The names below are loaded when they are first used, so that ``import pimc`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pimc.api import compile
    from pimc.chip.design import Chip
    from pimc.data.dataset import Dataset, load_data
    from pimc.errors import PimcError
    from pimc.functions.capture import capture
    from pimc.functions.evaluate import evaluate, explain
    from pimc.functions.explore import compare, sweep
    from pimc.functions.program import program
    from pimc.functions.recover_dies import recover_dies
    from pimc.functions.report import brief, report
    from pimc.functions.verify import verify
    from pimc.image.image import Image
    from pimc.passes.recover import recover
    from pimc.passes.recover.module import module
    from pimc.runtime.die.die import Die
    from pimc.runtime.session import Session

    __version__: str

__all__ = [
    "Chip",
    "Dataset",
    "Die",
    "Image",
    "PimcError",
    "Session",
    "__version__",
    "brief",
    "capture",
    "compare",
    "compensate",
    "compile",
    "evaluate",
    "explain",
    "load_data",
    "module",
    "program",
    "recover",
    "recover_dies",
    "report",
    "sweep",
    "verify",
]

_HOME = {
    "Chip": "pimc.chip.design",
    "Dataset": "pimc.data.dataset",
    "Die": "pimc.runtime.die.die",
    "Image": "pimc.image.image",
    "PimcError": "pimc.errors",
    "Session": "pimc.runtime.session",
    "brief": "pimc.functions.report",
    "capture": "pimc.functions.capture",
    "compare": "pimc.functions.explore",
    "compensate": "pimc.functions.compensate",
    "compile": "pimc.api",
    "evaluate": "pimc.functions.evaluate",
    "explain": "pimc.functions.evaluate",
    "load_data": "pimc.data.dataset",
    "module": "pimc.passes.recover.module",
    "program": "pimc.functions.program",
    "recover": "pimc.passes.recover",
    "recover_dies": "pimc.functions.recover_dies",
    "report": "pimc.functions.report",
    "sweep": "pimc.functions.explore",
    "verify": "pimc.functions.verify",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("pimc")
    if name not in _HOME:
        raise AttributeError(f"module 'pimc' has no attribute {name!r}")
    try:
        return getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as cause:
        from pimc.extras import missing

        told = missing(cause, f"pimc.{name}")
        if told is None:
            raise
        raise told from cause


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
