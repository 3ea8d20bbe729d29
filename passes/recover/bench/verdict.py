"""The verdict: whether a recovery made a die better, what kept it from more, what would help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pimc.image.image import Image
from pimc.passes.recover.bench.known import MIN_HELD_OUT
from pimc.passes.recover.know.findings import Findings
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Basis, Floor, Stage, Verdict
from pimc.passes.recover.write.residual import residual_weights

__all__ = ["verdict_of"]

#: Part of the cells that are stuck from which they are named as the reason.
_MANY_STUCK = 0.02
#: Share of samples that perfect cells must class as the float network does; for values, the loss.
_POOR_AGREEMENT, _POOR_LOSS = 0.9, 0.1
#: How far above the loss of perfect cells a die is as good as they are.
_AS_GOOD = 1.1
#: How far below the agreement of perfect cells a die falls short of them.
_SHORT = 0.05
#: Part of the budget that counts as all of it.
_ALL = 0.95


class _Reason(NamedTuple):
    """Why a die is no better.

    Attributes:
        hint: what would help; None where nothing would, or nothing is needed.
    """

    why: str
    hint: str | None = None


@dataclass(frozen=True)
class _Case:
    """All that a verdict looks at."""

    image: Image
    options: RecoverOptions
    floor: Floor
    basis: Basis
    stages: Sequence[Stage]
    findings: Findings | None
    written: int

    @property
    def before(self) -> Stage:
        return self.stages[0]

    @property
    def after(self) -> Stage:
        return next((stage for stage in self.stages if stage.kept), self.stages[-1])

    @property
    def gained(self) -> bool:
        return self.after.loss < self.before.loss

    @property
    def short(self) -> bool:
        """Whether perfect cells would serve clearly better."""
        if self.floor.agreement is None or self.after.agreement is None:
            return not self.gained
        return self.after.agreement < self.floor.agreement - _SHORT


def verdict_of(
    image: Image,
    options: RecoverOptions,
    floor: Floor,
    basis: Basis,
    stages: Sequence[Stage],
    findings: Findings | None,
    written: int,
) -> Verdict:
    """The verdict on a recovery.

    Args:
        image: that came of it.
        stages: what was judged, with the one that was kept; one at least.
        findings: faults by name; None where no cell was identified.
        written: writes done.
    """
    case = _Case(image, options, floor, basis, stages, findings, written)
    losses = case.gained, case.before.loss, case.after.loss
    if len(stages) == 1:
        return Verdict(*losses)  # nothing was tried
    ended = _writing_ended(case)
    if case.gained and not case.short:
        return Verdict(*losses, (ended.why,) if ended else ())
    found = [reason for of in _REASONS if (reason := of(case)) is not None]
    hints = dict.fromkeys(reason.hint for reason in found if reason.hint)
    return Verdict(*losses, tuple(reason.why for reason in found), tuple(hints))


def _good_enough(case: _Case) -> _Reason | None:
    limit = case.options.enough
    if limit is not None and case.after.loss <= limit:
        return _Reason("the die serves as well as was asked for")
    if case.before.loss <= _AS_GOOD * case.floor.loss and not case.gained:
        return _Reason("the die was as good as perfect cells: nothing was left to gain")
    return None


def _stuck(case: _Case) -> _Reason | None:
    """Single cells; lines are not counted by how many they hold."""
    if case.findings is None:
        return None
    kinds = case.findings.counts()
    count = sum(number for kind, number in kinds.items() if not kind.startswith("dead_"))
    share = (count + case.findings.off_target) / max(int(case.image.used.sum()), 1)
    if share < _MANY_STUCK:
        return None
    hint = None if residual_weights(case.image) else "--residual 12"
    return _Reason(f"{100 * share:.1f} % of the cells are stuck, and no write moves them", hint)


def _poor_floor(case: _Case) -> _Reason | None:
    loss, same = case.floor.loss, case.floor.agreement
    if (loss <= _POOR_LOSS) if same is None else (same >= _POOR_AGREEMENT):
        return None
    reached = "" if same is None else f", {100 * same:.1f} % as the float network"
    return _Reason(
        f"perfect cells themselves reach no more than a held-out loss of {loss:.4f}{reached}",
        "compile for more levels (--levels), several cells a weight (--mapping sliced) or finer"
        " converters (--set adc.bits=…)",
    )


def _few_samples(case: _Case) -> _Reason | None:
    if case.basis.held_out > MIN_HELD_OUT:
        return None
    return _Reason(
        f"{case.basis.held_out} held-out samples hardly tell what serves",
        "more calibration data: better some hundreds",
    )


def _writing_ended(case: _Case) -> _Reason | None:
    """The writes that did not pay, where there were any."""
    losses = [case.before.loss]
    for stage in case.stages[1:]:
        if stage.paid is False:
            return _Reason(
                f"{stage.name}, did not pay and was the last: held-out loss {min(losses):.4f}"
                f" before, {stage.loss:.4f} after"
            )
        losses = [stage.loss] if stage.cells_written else [*losses, stage.loss]
    return None


def _written_unseen(case: _Case) -> _Reason | None:
    """Strategies that write all they write in one go."""
    unseen = [stage for stage in case.stages if stage.cells_written and stage.paid is None]
    if case.gained or not unseen:
        return None
    return _Reason(
        "this strategy writes without looking at what the writes are worth",
        "--strategy selective, which ends writing where it does not pay",
    )


def _budget_used(case: _Case) -> _Reason | None:
    used = case.written >= _ALL * case.options.budget * case.image.used.sum()
    paid = [stage.paid for stage in case.stages if stage.paid is not None]
    if not used or not paid or not all(paid):
        return None
    return _Reason("writes still paid when the budget was used up", "a larger --budget")


#: Told in this order.
_REASONS: tuple[Callable[[_Case], _Reason | None], ...] = (
    _good_enough,
    _stuck,
    _poor_floor,
    _few_samples,
    _writing_ended,
    _written_unseen,
    _budget_used,
)
