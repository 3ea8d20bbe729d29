"""Terms of a laboratory's own, as the simulator calls them: what they return is checked."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar

import numpy as np

from pimc.chip.plugins.foreign import Array64, Foreign
from pimc.chip.plugins.protocols import Floats
from pimc.files.strict import described

__all__ = [
    "KINDS",
    "CheckedCell",
    "CheckedConverter",
    "CheckedRead",
    "CheckedTime",
    "Term",
    "class_of",
]

_MOST_DRAWS = 64

#: Parameters by key, in the order of the class's fields.
Values = tuple[tuple[str, Any], ...]


def class_of(foreign: Foreign, where: str) -> type:
    """The class of a term, whose fields say what the chip file may hold.

    Raises:
        ChipError: it is not installed, no dataclass, or has a field that is not described.
    """
    kind = foreign.load(where)
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise foreign.wrong("is no dataclass", "put @dataclass(frozen=True) above it")
    known = {item.name for item, key in described(kind) if key.table is None and key.named is None}
    for item in fields(kind):
        if item.init and item.name not in known:
            raise foreign.wrong(
                f"does not say what its field {item.name} may hold",
                "describe it with pimc.files.strict.setting",
            )
    return kind


@dataclass(frozen=True)
class Term:
    """A term of a chip: a class of a laboratory's with its parameters.

    Args:
        foreign: its entry point.
        values: what the class is made of.

    Raises:
        ChipError: the class cannot be found or made, or is not of this kind.
    """

    foreign: Foreign
    values: Values
    _model: Any = field(init=False, compare=False, repr=False)

    METHODS: ClassVar[tuple[str, ...]] = ()
    #: One of the methods is enough.
    ANY: ClassVar[bool] = False

    def __post_init__(self) -> None:
        foreign = self.foreign
        model = foreign.call(class_of(foreign, f"physics.{foreign}"), **dict(self.values))
        missing = [name for name in self.METHODS if not callable(getattr(model, name, None))]
        if len(missing) > (len(self.METHODS) - 1 if self.ANY else 0):
            raise foreign.wrong(f"has no method {missing[0]}")
        object.__setattr__(self, "_model", model)
        self._check()

    def _check(self) -> None:
        """Look at all that the class states."""

    @property
    def name(self) -> str:
        """What users call it: the name of its entry point."""
        return str(self.foreign)

    @property
    def meaning(self) -> str:
        """The first line of the class's docstring."""
        text = inspect.getdoc(type(self._model)) or type(self._model).__name__
        return text.partition("\n")[0].rstrip(".")

    @property
    def lasts(self) -> bool:
        """Two reads one after the other meet the same of it."""
        return True

    @property
    def drawn(self) -> bool:
        """It differs from die to die or from read to read."""
        return self.draws > 0

    @property
    def draws(self) -> int:
        """Standard normal draws that one event takes."""
        return self.foreign.count(self._model, "draws", 1, 0, _MOST_DRAWS)

    def _numbers(self, method: str, shape: tuple[int, ...], *arguments: Any) -> Array64:
        found = self.foreign.numbers(getattr(self._model, method), shape, *arguments)
        return found.astype(np.float64)

    def _spread(self, method: str, what: str, given: Array64, *more: Any) -> Array64:
        found = self._numbers(method, given.shape, given, *more)
        if (found < 0).any():
            raise self.foreign.wrong(f"returned a negative {what}")
        return found


@dataclass(frozen=True)
class CheckedCell(Term):
    """See :class:`~pimc.chip.plugins.protocols.CellTerm`."""

    METHODS = ("sigma_us", "sample")

    def _check(self) -> None:
        _ = self.draws

    def sigma_us(self, target_us: Array64) -> Array64:
        """The class's standard deviation in µS."""
        return self._spread("sigma_us", "standard deviation", target_us)

    def sample(self, held_us: Array64, target_us: Array64, normals: Array64) -> Array64:
        """The class's conductances in µS."""
        return self._numbers("sample", held_us.shape, held_us, target_us, normals)


@dataclass(frozen=True)
class CheckedTime(Term):
    """See :class:`~pimc.chip.plugins.protocols.TimeTerm`."""

    METHODS = ("aged_us",)

    def _check(self) -> None:
        _ = self.draws

    def aged_us(
        self, held_us: Array64, target_us: Array64, age_s: Array64, normals: Array64
    ) -> Array64:
        """The class's conductances in µS."""
        return self._numbers("aged_us", held_us.shape, held_us, target_us, age_s, normals)


@dataclass(frozen=True)
class CheckedRead(Term):
    """See :class:`~pimc.chip.plugins.protocols.ReadTerm`."""

    METHODS = ("variance_us2",)

    def _check(self) -> None:
        _ = self.power

    @property
    def power(self) -> int:
        """How its variance goes with the voltage."""
        return self.foreign.count(self._model, "power", 2, 0, 2)

    @property
    def lasts(self) -> bool:
        """It is drawn anew at every read."""
        return False

    @property
    def drawn(self) -> bool:
        """It differs from read to read."""
        return True

    def variance_us2(self, held_us: Floats, age_s: Floats) -> Floats:
        """The class's variance in µS²."""
        held, age = held_us.astype(np.float64), age_s.astype(np.float64)
        return self._spread("variance_us2", "variance", held, np.broadcast_to(age, held.shape))


@dataclass(frozen=True)
class CheckedConverter(Term):
    """See :class:`~pimc.chip.plugins.protocols.ConverterTerm`."""

    METHODS = ("dac", "adc")
    ANY = True

    def _check(self) -> None:
        _ = self.draws, self.fixed

    @property
    def draws(self) -> int:
        """Standard normal draws that every conversion takes."""
        return self.foreign.count(self._model, "draws", 0, 0, _MOST_DRAWS)

    @property
    def fixed(self) -> int:
        """Standard normal draws that belong to a converter."""
        return self.foreign.count(self._model, "fixed", 0, 0, _MOST_DRAWS)

    @property
    def lasts(self) -> bool:
        """Conversions draw nothing anew."""
        return self.draws == 0

    @property
    def drawn(self) -> bool:
        """It differs from die to die or from read to read."""
        return self.draws + self.fixed > 0

    @property
    def has_dac(self) -> bool:
        """It is about what wordlines get."""
        return callable(getattr(self._model, "dac", None))

    @property
    def has_adc(self) -> bool:
        """It is about what column currents become."""
        return callable(getattr(self._model, "adc", None))

    def dac(self, codes: Floats, fixed: Floats, normals: Floats, *, full_scale: float) -> Floats:
        """What the class makes of codes."""
        method = self._model.dac
        return self.foreign.numbers(method, codes.shape, codes, full_scale, fixed, normals)

    def adc(self, values: Floats, fixed: Floats, normals: Floats) -> Floats:
        """What the class makes of currents in codes."""
        return self.foreign.numbers(self._model.adc, values.shape, values, fixed, normals)


#: The kinds by the first part of their entry points' names.
KINDS: Mapping[str, type[Term]] = {
    "cell": CheckedCell,
    "time": CheckedTime,
    "read": CheckedRead,
    "converter": CheckedConverter,
}
