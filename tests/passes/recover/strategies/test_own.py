"""Strategies that other packages bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from pimc.errors import UsageError
from pimc.passes.recover.bench.bench import Bench, Step
from pimc.passes.recover.bench.judge import judge
from pimc.passes.recover.bench.state import State
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.steps.correcting import fit_columns
from pimc.passes.recover.strategies import strategies, strategy_named
from tests.passes.recover.strategies.one_die import recovered

OURS = ["none", "affine", "vat", "vat-kd", "layerwise", "full-rewrite", "residual", "selective"]


@dataclass(frozen=True)
class OneRow:
    """Take off the rows' common error only. More text."""

    name: ClassVar[str] = "one-row"
    needs_chip: ClassVar[bool] = True
    uses: ClassVar[Sequence[str]] = ()

    def steps(self, options: RecoverOptions, *, chip: bool) -> Sequence[Step]:
        """None: that it was asked is enough."""
        return ()


def add(install: Any, name: str, strategy: type) -> None:
    """Installs a class of this module as another package's strategy."""
    source = f"import sys\n{strategy.__name__} = sys.modules[{__name__!r}].{strategy.__name__}"
    install(f"pimc-{name}", "pimc.strategies", {name: strategy.__name__}, source)


def test_entry_points_are_listed_after_ours_and_can_be_followed(image, calib, install) -> None:
    add(install, "one-row", OneRow)
    assert [found.name for found in strategies()] == [*OURS, "one-row"]
    assert strategies()[-1].description == "Take off the rows' common error only. More text"
    assert recovered(image, calib, "one-row")[0].strategy == "one-row"


@dataclass(frozen=True)
class Louder:
    """Make all gains twice what they are, and go back."""

    name: ClassVar[str] = "louder"
    needs_chip: ClassVar[bool] = True
    uses: ClassVar[Sequence[str]] = ()

    def steps(self, options: RecoverOptions, *, chip: bool) -> Sequence[Step]:
        """A step of one's own, then one of those that are there."""
        return self.louder, fit_columns

    def louder(self, bench: Bench, state: State) -> State:
        """Double and judge."""
        columns = {layer.index: {"gain": 2 * layer.gain} for layer in state.image.layers}
        return judge(bench, replace(state, image=state.image.updated(columns=columns)), "louder")


def test_a_package_adds_steps_of_its_own(image, calib, install) -> None:
    add(install, "louder", Louder)
    recovery, _ = recovered(image, calib, "louder")
    names = [stage.name for stage in recovery.stages]
    assert names[:3] == ["as programmed", "louder", "column gain and offset"]
    first, louder, fitted, _ = (stage.loss for stage in recovery.stages)
    assert louder > first > fitted


def test_one_that_cannot_be_loaded_says_so(install) -> None:
    install("pimc-rocket", "pimc.strategies", {"broken": "Rocket"}, "import rocket_engine")
    with pytest.raises(UsageError, match="cannot be loaded: No module named 'rocket_engine'"):
        strategy_named("broken")
