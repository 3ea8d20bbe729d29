"""Selective rewriting: few cells, chosen by what each is expected to gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from pimc.passes.recover.bench.bench import Step
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.steps.correcting import add_digital, correct, tune_ranges
from pimc.passes.recover.steps.learning import learn
from pimc.passes.recover.steps.training import train_columns, training_levels
from pimc.passes.recover.steps.writing import rewriting


@dataclass(frozen=True)
class Selective:
    """Identify the cells, rewrite the few that pay most, distill the digital side."""

    name: ClassVar[str] = "selective"
    needs_chip: ClassVar[bool] = False
    uses: ClassVar[Sequence[str]] = ("budget", "rounds", "residual", "train", "epochs")

    def steps(self, options: RecoverOptions, *, chip: bool) -> Sequence[Step]:
        """Capture, correct, rewrite in rounds, distill."""
        rounds = options.rounds if chip else min(1, options.rounds)
        trained = "levels" in options.train
        if trained and not chip:
            rounds = 0  # what is written once cannot be looked at, and corrected, before
        part = 0.5 if trained else 1.0
        steps: list[Step] = [learn, correct, tune_ranges, *rewriting(rounds, part=part)]
        if options.residual:
            steps.append(partial(add_digital, share=options.residual))
        if trained:
            steps += training_levels(rounds + 1)
        return *steps, train_columns
