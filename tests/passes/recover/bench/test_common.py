"""What recoveries of several dies have in common is worked out once, and changes nothing."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.recover import Common, DistillOptions, HardenedCache, RecoverOptions, recover
from pimc.passes.recover.recovery import Recovery
from pimc.runtime.crossbar import CrossbarLayer
from pimc.runtime.door.drivers import open_device
from pimc.runtime.door.program import program
from pimc.runtime.teacher import TeacherLayer

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = RecoverOptions(rounds=1, distill=DistillOptions(epochs=0))


@pytest.fixture(scope="module")
def data() -> Dataset:
    x = np.random.default_rng(5).standard_normal((160, 2, 8, 8)).astype(np.float32)
    return Dataset.of(x)


@pytest.fixture(scope="module")
def image(tiny_model: Any, data: Dataset) -> Image:
    chip = Chip.default().with_array(64, 32).with_sigma(0.08)
    return compile_model(tiny_model(), chip, calib=data)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Samples that layers compute, by what computes them: in float, or as a chip reads."""
    found: Counter[str] = Counter()

    def counting(kind: type, name: str) -> Any:
        original = kind.__call__

        def call(self: Any, x: torch.Tensor) -> torch.Tensor:
            found[name] += len(x)
            return original(self, x)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for kind, name in ((TeacherLayer, "float"), (CrossbarLayer, "chip")):
            patch.setattr(kind, "__call__", counting(kind, name))
        yield found


def recovered(
    image: Image, data: Dataset, seed: int, options: RecoverOptions = OPTIONS, **more: Any
) -> Recovery:
    device = open_device("sim", image, seed=seed)
    program(image, device)
    return recover(image, device, data, options, **more)


def told(recovery: Recovery) -> dict[str, Any]:
    """All that a recovery tells, but for times."""
    stages = [replace(stage, seconds=0.0) for stage in recovery.stages]
    return {
        "image": recovery.image.sha256,
        "stages": stages,
        "floor": recovery.floor,
        "writes": recovery.writes.tolist(),
        "basis": recovery.basis,
    }


def test_a_second_die_comes_out_as_alone_and_runs_what_is_shared_no_more(
    image: Image, data: Dataset
) -> None:
    common = Common()
    with counted() as first:
        recovered(image, data, 900, common=common)
    with counted() as second:
        beside = recovered(image, data, 901, common=common)
    alone = recovered(image, data, 901)
    assert told(beside) == told(alone)
    # Spreads of layers, with which training begins, are measured by every die.
    assert second["float"] < 0.15 * first["float"]
    assert second["chip"] < first["chip"]  # no floor is read once more
    assert second.total() <= 0.7 * first.total()


def test_what_belongs_to_other_data_or_options_is_not_taken(image: Image, data: Dataset) -> None:
    common = Common()
    recovered(image, data, 900, common=common)
    others = replace(OPTIONS, seed=1)
    fewer = data.subset(np.arange(120))
    for given, options in ((data, others), (fewer, OPTIONS), (data, OPTIONS)):
        beside = recovered(image, given, 901, options, common=common)
        assert told(beside) == told(recovered(image, given, 901, options))


def test_a_copy_begins_empty(image: Image, data: Dataset) -> None:
    common = Common(HardenedCache())
    common.belongs_to(image, data, OPTIONS)
    assert common.once("x", lambda: 1) == common.once("x", lambda: 2) == 1
    assert pickle.loads(pickle.dumps(common)).once("x", lambda: 3) == 3
    common.belongs_to(image, data, replace(OPTIONS))
    assert common.once("x", lambda: 4) == 1
    common.belongs_to(image, data, replace(OPTIONS, seed=1))
    assert common.once("x", lambda: 5) == 5
