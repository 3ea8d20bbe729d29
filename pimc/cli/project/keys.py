"""Which options of which commands ``pimc.toml`` fills, and which commands are steps."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = [
    "ALWAYS",
    "COMMON",
    "DIES",
    "NEVER",
    "OF_CAPTURES",
    "OUTPUTS",
    "RIVALS",
    "SHARED",
    "STEPS",
]

_ON_CHIP = {"die": "die", "device": "device"}
_IMAGE = {"image": "image"}

#: By command the parameters that keys of the file fill: parameter → key. Other commands take
#: nothing from the file: what they print, a script or a chip file, is the same everywhere.
SHARED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "compile": {"model": "model", "chip": "chip", "calib": "calib", "output": "image"},
        "layouts": {"model": "model", "chip": "chip"},
        "check": {"model": "model"},
        "info": _IMAGE,
        "report": {"what": "image"},
        "verify": _IMAGE | {"model": "model"},
        "program": _IMAGE | _ON_CHIP,
        "run": _IMAGE,
        "eval": _IMAGE | {"data": "data", "task": "task"},
        "sweep": {
            "model": "model", "chip": "chip", "calib": "calib", "data": "data", "task": "task",
        },
        "capture": _IMAGE | _ON_CHIP | {"calib": "calib"},
        "compensate": _IMAGE | {"calib": "calib"},
        "recover": _IMAGE
        | {"calib": "calib", "data": "data", "task": "task", "named": "die", "device": "device"},
        "age": {"die": "die"},
    }
)  # fmt: skip

#: Parameters that do not go together: whoever names one of the first on the command line means
#: none of the second from the file.
RIVALS: Mapping[str, tuple[tuple[frozenset[str], frozenset[str]], ...]] = MappingProxyType(
    {
        "compile": (
            (frozenset({"model"}), frozenset({"output"})),
            (frozenset({"stop_after"}), frozenset({"output"})),
        ),
        "verify": ((frozenset({"image"}), frozenset({"model"})),),
        "eval": (
            (frozenset({"die", "ideal", "device"}), frozenset({"count", "die", "ideal"})),
            (frozenset({"count"}), frozenset({"die", "ideal"})),
            (frozenset({"image"}), frozenset({"output"})),
        ),
        "run": (
            (frozenset({"die", "ideal", "device"}), frozenset({"die", "ideal"})),
            (frozenset({"image", "source"}), frozenset({"output"})),
        ),
        "sweep": ((frozenset({"model"}), frozenset({"output", "picture"})),),
        "capture": ((frozenset({"image"}), frozenset({"output"})),),
        "compensate": (
            (frozenset({"off"}), frozenset({"calib", "since"})),
            (frozenset({"image"}), frozenset({"output"})),
        ),
        "recover": (
            (frozenset({"named"}), frozenset({"dies"})),
            (frozenset({"dies", "compare"}), frozenset({"named"})),
            (frozenset({"target"}), frozenset({"max_drop"})),
            (frozenset({"max_drop"}), frozenset({"target"})),
            (frozenset({"image", "compare"}), frozenset({"output", "picture"})),
        ),
    }
)

#: Options of every command; they are not said in a table of the file.
COMMON = frozenset(
    {"json", "quiet", "project", "log_format", "verbose", "metrics", "force", "resume"}
)

#: Commands whose inputs and outputs are noted: what is up to date is not done again.
STEPS = frozenset(
    {
        "age", "capture", "compensate", "compile", "eval", "layouts", "program", "recover", "run",
        "sweep", "verify",
    }
)  # fmt: skip

#: Steps that do something new each time: noted, so that it is known what became of a die, and never
#: up to date.
ALWAYS = frozenset({"age"})

#: Commands that look for captures beside the calibration data.
OF_CAPTURES = frozenset({"recover"})

#: Parameters that change nothing about the result.
NEVER = COMMON | {"jobs", "cluster", "memory"}

#: Parameters that name what is written.
OUTPUTS = frozenset({"output", "table", "dump_dir", "front", "picture"})

#: Parameters that name dies, whose files may change when they are read or written.
DIES = frozenset({"die", "named"})
