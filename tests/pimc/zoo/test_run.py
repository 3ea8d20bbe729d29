"""A network of the zoo measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pimc.image.image import Image
from pimc.zoo.get import get
from pimc.zoo.record import network
from pimc.zoo.run import Limits, run

FASHION = replace(network("fashion-resnet8"), strategy="affine")


@pytest.fixture(scope="module")
def obtained(tmp_path_factory: pytest.TempPathFactory):
    return replace(get(FASHION, tmp_path_factory.mktemp("zoo")), network=FASHION)


def test_dies_are_recovered_and_figures_told(obtained) -> None:
    found = run(obtained, [900], limits=Limits(calib=64, samples=60))
    assert (found.calib, found.samples, found.dies) == (64, 60, (900,))
    assert found.in_float > 0.8
    assert found.perfect > 0.7
    assert found.recovered[0] > found.programmed[0]
    image = Image.load(obtained.path("model.pimc"))
    assert found.arrays == image.arrays
    assert found.weights == int(image.used.sum()) == 77072
    assert found.cells_a_weight == 1.0
    assert found.energy_pj is not None


def test_without_dies_only_perfect_cells_are_measured(obtained) -> None:
    found = run(obtained, [], limits=Limits(samples=20))
    assert found.calib == FASHION.calib
    assert (found.dies, found.programmed, found.recovered) == ((), (), ())
    assert found.perfect > 0.7


def test_samples_beyond_the_data_are_those_there_are(obtained: object, tmp_path: Path) -> None:
    from pimc.zoo.run import _data

    assert len(_data(obtained, "test", 10**6)) == 2000  # type: ignore[arg-type]
