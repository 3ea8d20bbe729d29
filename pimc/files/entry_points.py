"""What other installed packages add to pimc, found by their entry points.

A group of entry points holds things of one kind: drivers, physics, strategies, passes. Ours are
found without any installed metadata; a name that two packages give is refused, not guessed at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pimc.errors import PimcError, UsageError
from pimc.files.strict import did_you_mean

__all__ = ["Extensions"]

#: The package whose entry points are the built-in things themselves.
_OURS = "pimc"


@dataclass(frozen=True)
class Extensions:
    """Things of one kind, ours and those that installed packages add.

    Attributes:
        group: the entry-point group, such as ``pimc.devices``.
        noun: what users call one of them.
        built_in: ours by name.
        prefix: what the entry points' names begin with, before the name that users give.
        loaded: what is loaded for one of them, where that is called something else.
        unknown: what is raised for a name that nobody gives.
        broken: what is raised for one that cannot be loaded.
        listed: words before the names that there are.
    """

    group: str
    noun: str
    built_in: Mapping[str, Any] = field(default_factory=dict, repr=False)
    prefix: str = ""
    loaded: str = ""
    unknown: type[PimcError] = UsageError
    broken: type[PimcError] = UsageError
    listed: str = "installed are"

    def names(self) -> list[str]:
        """All names: ours in their order, then the others' sorted."""
        return [*self.built_in, *sorted(self._others().keys() - self.built_in.keys())]

    def load(self, name: str, *, where: str | None = None) -> Any:
        """The thing of this name.

        Args:
            where: what the user named it with, for the error; the name itself if None.

        Raises:
            unknown: there is none of this name.
            broken: several packages give one, or the package that does cannot be imported.
        """
        entries = self._others().get(name, [])
        if name in self.built_in and not entries:
            return self.built_in[name]
        if not entries:
            raise self._no_such(name, where)
        if name in self.built_in or len(entries) > 1:
            givers = [_OURS] * (name in self.built_in) + [_package(entry) for entry in entries]
            raise self.broken(
                f"{len(givers)} packages give a {self.noun} of this name: {', '.join(givers)}",
                where=self.prefix + name,
                hint="uninstall all but one of them",
            )
        return self._imported(entries[0])

    def _others(self) -> dict[str, list[EntryPoint]]:
        """The entry points of other packages by the name that users give."""
        found: dict[str, list[EntryPoint]] = {}
        for entry in entry_points(group=self.group):
            name = entry.name.removeprefix(self.prefix)
            ours = name in self.built_in and _distribution(entry)[:1] == (_OURS,)
            if not entry.name.startswith(self.prefix) or ours:
                continue
            same = [e for e in found.setdefault(name, []) if _identity(e) == _identity(entry)]
            found[name] += [] if same else [entry]
        return found

    def _no_such(self, name: str, where: str | None) -> PimcError:
        known = self.names()
        return self.unknown(
            f"no such {self.noun}{did_you_mean(name, known)}",
            where=where or name,
            hint=f"{self.listed} {', '.join(known)}" if known else "install its package",
        )

    def _imported(self, entry: EntryPoint) -> Any:
        try:
            return entry.load()
        except (Exception, SystemExit) as cause:  # whatever a foreign module does when imported
            why = str(cause) or type(cause).__name__
            raise self.broken(
                f"the {self.loaded or self.noun} cannot be loaded: {why}",
                where=entry.name,
                hint=f"install its package again: {_package(entry)} names {entry.value}",
            ) from cause


def _distribution(entry: EntryPoint) -> tuple[str, ...]:
    """Name and version of the package that an entry point is from, if that is known."""
    return () if entry.dist is None else (entry.dist.name, entry.dist.version)


def _package(entry: EntryPoint) -> str:
    return " ".join(_distribution(entry)) or "an unnamed package"


def _identity(entry: EntryPoint) -> tuple[str, ...]:
    """The same for one package that is found in two places, as an editable one may be."""
    return (*_distribution(entry)[:1], entry.value)
