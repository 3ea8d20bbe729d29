"""Recovery: make a programmed die compute accurately again.

The names below are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pimc.passes.recover.bench.common import Common
    from pimc.passes.recover.loop import recover
    from pimc.passes.recover.options import RecoverOptions
    from pimc.passes.recover.recovery import Recovery, Stage
    from pimc.passes.recover.train.distill import DistillOptions
    from pimc.passes.recover.train.harden import HardenedCache

__all__ = [
    "Common",
    "DistillOptions",
    "HardenedCache",
    "RecoverOptions",
    "Recovery",
    "Stage",
    "recover",
]

_HOME = {
    "Common": "bench.common",
    "DistillOptions": "train.distill",
    "HardenedCache": "train.harden",
    "RecoverOptions": "options",
    "Recovery": "recovery",
    "Stage": "recovery",
    "recover": "loop",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
