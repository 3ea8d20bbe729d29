"""What the zoo knows of a network: a TOML file each, ``pimc/zoo/networks/NAME.toml``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from statistics import mean
from typing import Any, ClassVar

from pimc.errors import UsageError
from pimc.files.strict import Rule, did_you_mean, key, plain_table, read_table, read_toml, setting
from pimc.files.writing.atomic import replacing

__all__ = ["Measured", "Network", "Wheel", "names", "network", "networks", "read", "update"]

#: A wheel as pip's requirements files have it.
_WHEEL = re.compile(
    r"(?P<name>[\w.-]+)==(?P<version>[\w.!+]+) --hash=sha256:(?P<sha256>[0-9a-f]{64})"
)
#: Where the part of a file begins that :func:`update` writes.
_MEASURED = "[measured]"


@dataclass(frozen=True)
class Wheel:
    """A package on PyPI in one version, as one file.

    Attributes:
        sha256: of the file, as hex.
    """

    name: str
    version: str
    sha256: str

    @classmethod
    def of(cls, text: str) -> Wheel:
        """A wheel from ``name==version --hash=sha256:…``."""
        found = _WHEEL.fullmatch(text)
        assert found is not None, text
        return cls(**found.groupdict())

    @property
    def requirement(self) -> str:
        """The line of a requirements file."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True)
class Measured:
    """What was measured of a network, with what it was measured on.

    Attributes:
        programmed, recovered: a figure a die, in the order of ``dies``.
    """

    pimc: str = field(metadata=key("str", "version of pimc"))
    calib: int = field(metadata=key("int", "calibration samples", low=1))
    samples: int = field(metadata=key("int", "samples that judge", low=1))
    in_float: float = field(metadata=key("float", "the metric of the float network"))
    perfect: float = field(metadata=key("float", "the metric on perfect cells"))
    weights: int = field(metadata=key("int", "weights on arrays", low=1))
    cells_a_weight: float = field(metadata=key("float", "cells of a weight, mean", above=0))
    arrays: int = field(metadata=key("int", "arrays", low=1))
    energy_pj: float | None = setting(None, "float", "energy of a sample in pJ", above=0)
    dies: tuple[int, ...] = setting((), "ints", "seeds of the dies", low=0)
    programmed: tuple[float, ...] = setting((), "floats", "the metric as programmed, die by die")
    recovered: tuple[float, ...] = setting((), "floats", "the metric recovered, die by die")

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "dies",
            lambda t: len(t.dies) == len(t.programmed) == len(t.recovered),
            "each die has one figure as programmed and one recovered",
        ),
    )

    def mean_of(self, name: str) -> float | None:
        """Mean over the dies of ``programmed`` or ``recovered``; None where none was measured."""
        values = getattr(self, name)
        return mean(values) if values else None


@dataclass(frozen=True)
class Network:
    """A network of the zoo.

    Attributes:
        name: of its file, and what the commands call it.
    """

    title: str = field(metadata=key("str", "what the network is called"))
    inputs: str = field(metadata=key("str", "what it takes, for people"))
    task: str = field(metadata=key("str", "task of pimc that judges it"))
    chip: str = field(metadata=key("str", "a shipped chip"))
    maker: str = field(metadata=key("str", "MODULE:FUNCTION in pimc.zoo.makers"))
    licence: str = field(metadata=key("str", "SPDX licence of the weights"))
    weights_from: str = field(metadata=key("str", "who made the weights"))
    data_from: str = field(metadata=key("str", "what it is calibrated and judged on"))
    calib: int = field(metadata=key("int", "calibration samples of a run", low=2))
    samples: int = field(metadata=key("int", "samples that a run judges on", low=1))
    dies: int = setting(1, "int", "dies of a run; 0: float and perfect cells alone", low=0)
    strategy: str = setting("selective", "str", "strategy of recovery")
    compiled_on: int = setting(64, "int", "calibration samples that the compiler looks at", low=1)
    batch: int = setting(64, "int", "samples that are judged at once", low=1)
    digital: tuple[str, ...] = setting((), "strs", "layers that stay off the array")
    needs: tuple[str, ...] = setting((), "strs", "modules that making or judging needs")
    wheels: tuple[str, ...] = setting((), "strs", "name==version --hash=sha256:…, each one file")
    measured: Measured | None = field(
        default=None, metadata=key("table", "what was measured", table=Measured)
    )
    name: str = ""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "wheels",
            lambda t: all(map(_WHEEL.fullmatch, t.wheels)),
            "each must be name==version --hash=sha256: and 64 hex digits",
        ),
    )

    @property
    def files(self) -> list[Wheel]:
        """The wheels that it is made from."""
        return [Wheel.of(text) for text in self.wheels]

    def to_dict(self) -> dict[str, Any]:
        """The record as plain types, with its name."""
        return {"name": self.name, **plain_table(self)}


def _folder() -> Path:
    return Path(str(resources.files("pimc.zoo.networks")))


def names() -> tuple[str, ...]:
    """What networks are called, sorted."""
    return tuple(sorted(path.stem for path in _folder().glob("*.toml")))


def network(name: str) -> Network:
    """The record of a network.

    Raises:
        UsageError: there is none of this name, or its file breaks a rule.
    """
    if name not in names():
        raise UsageError(
            f"no such network{did_you_mean(name, names())}",
            where=name,
            hint="`pimc zoo list` shows them",
        )
    return read(_folder() / f"{name}.toml")


def networks() -> Iterator[Network]:
    """All records, by name."""
    return map(network, names())


def read(path: Path) -> Network:
    """The record in a file.

    Raises:
        UsageError: it is not readable, or breaks a rule; all problems are named.
    """
    values, problems = read_table(Network, read_toml(path, UsageError))
    if problems:
        raise UsageError(
            "; ".join(problems), where=str(path), hint="pimc/zoo/record.py has the keys"
        )
    return Network(**values, name=path.stem)


def update(name: str, measured: Measured, path: Path | None = None) -> Path:
    """Write what was measured into the network's file; the rest stays byte for byte.

    Args:
        path: the file, where not the record that this pimc holds.

    Raises:
        UsageError: the file cannot be read or written.
    """
    path = path or _folder() / f"{name}.toml"
    read(path)
    head = path.read_text(encoding="utf-8").partition(f"\n{_MEASURED}\n")[0].rstrip("\n")
    lines = [f"{k} = {_toml(value)}" for k, value in plain_table(measured).items()]
    with replacing(path) as stream:
        stream.write("\n".join([head, "", _MEASURED, *lines, ""]).encode())
    return path


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, float):
        return f"{value:.6g}" if "." in f"{value:.6g}" or "e" in f"{value:.6g}" else f"{value:.1f}"
    return f'"{value}"' if isinstance(value, str) else str(value)
