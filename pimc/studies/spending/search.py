"""Which point of the front to look at next, and what drop it is expected to have.

Damages tell points apart; what drop of the metric they amount to is known from points that were
measured. A drop is taken to be a · damage^b: a follows from one measured point, with b = 1, and
both from two or more. The guess is then the cheapest point that should hold, but between one that
fails and one that holds, and every second time the middle of these, so that a poor rule costs twice
the trials of a bisection at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Rule", "fewest"]

#: What decides nothing between a drop that is expected and one that is allowed.
_CLOSE = 1e-9
#: Least and largest exponent: of differences that go both ways, and of such that do not.
_EXPONENTS = (0.4, 2.0)


@dataclass(frozen=True)
class Rule:
    """What drop is expected of a damage: ``factor`` · damage^``exponent``."""

    factor: float
    exponent: float = 1.0

    @staticmethod
    def of(measured: Sequence[tuple[float, float]]) -> Rule | None:
        """The rule that fits damages and drops; None where no drop was seen."""
        seen = [(damage, drop) for damage, drop in measured if damage > 0 and drop > 0]
        if not seen:
            return None
        damage, drop = np.log(np.asarray(seen)).T
        exponent = 1.0
        if len(seen) > 1 and float(np.ptp(damage)) > 1e-6:
            slope = float(np.polyfit(damage, drop, 1)[0])
            exponent = float(np.clip(slope, *_EXPONENTS))
        return Rule(float(np.exp(np.mean(drop - exponent * damage))), exponent)

    def __call__(self, damage: float) -> float:
        """The drop that is expected."""
        return float(self.factor * max(damage, 0.0) ** self.exponent)


@dataclass
class _Bracket:
    """Points known to fail and to hold.

    Attributes:
        end: one behind the last that there is, or that fits the chip.
        large: some do not.
    """

    end: int
    large: bool = False
    fails: int = -1
    good: int | None = None
    tried: dict[int, float] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether anything is left to try."""
        return self.fails + 1 < (self.end if self.good is None else self.good)

    def inside(self, number: int) -> int:
        """The nearest of those left."""
        last = (self.end if self.good is None else self.good) - 1
        return min(max(number, self.fails + 1), last)

    @property
    def middle(self) -> int:
        """Of those left; the last where none is known to hold, and all fit."""
        if self.good is None and not self.large:
            return self.end - 1
        last = self.end if self.good is None else self.good
        return self.inside((self.fails + last) // 2)


def fewest(
    damages: Sequence[float], allowed: float, drop_of: Callable[[int], float | None]
) -> tuple[int | None, Mapping[int, float]]:
    """The first point whose drop is allowed, where each after one that holds does, too.

    Args:
        damages: of the points, the cheapest one first.
        drop_of: measures a point; None where it is larger than the chip is, as all after it are.

    Returns:
        Its number, None where no point holds, and all drops that were measured.
    """
    left = _Bracket(len(damages))
    guess, turn = 0, 0
    while left.open:
        drop = drop_of(guess)
        if drop is None:
            left.end, left.large = guess, True
        else:
            left.tried[guess] = drop
            if drop <= allowed:
                left.good = guess
            else:
                left.fails = guess
        rule = Rule.of([(damages[n], d) for n, d in left.tried.items()])
        turn += 1
        if turn % 2 and rule is not None:
            wanted = [n for n, damage in enumerate(damages) if rule(damage) <= allowed + _CLOSE]
            guess = left.inside(wanted[0] if wanted else left.end - 1)
        else:
            guess = left.middle
    return left.good, left.tried
