"""The main job on a real network that is not part of the project: ResNet-20 for CIFAR-10."""

from __future__ import annotations

from pathlib import Path

import pytest

from pimc.api import compile as compile_model
from pimc.data.dataset import Dataset, load_data
from pimc.image.image import Image
from pimc.runtime.session import Session
from pimc.studies.evaluate import Batches, accuracy, float_session
from pimc.studies.golden.verify import verify

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10"
MODEL = DATA / "resnet20.onnx"

pytestmark = pytest.mark.skipif(
    not MODEL.is_file(), reason="needs shared/data/cifar10 beside the checkout"
)


@pytest.fixture(scope="module")
def calib() -> Dataset:
    return load_data(DATA / "calib.npz", role="calib")


@pytest.fixture(scope="module")
def image(calib: Dataset) -> Image:
    return compile_model(MODEL, calib=calib)


def test_packs_to_the_area_bound_with_one_cell_a_weight(image: Image) -> None:
    weights = sum(layer.groups * layer.rows * layer.cols for layer in image.layers)
    assert int(image.used.sum()) == weights
    assert image.arrays == -(-weights // (128 * 128)) == 17


def test_same_bytes_from_the_same_input(image: Image, calib: Dataset) -> None:
    assert compile_model(MODEL, calib=calib).to_bytes() == image.to_bytes()


def test_is_the_same_network(image: Image, calib: Dataset) -> None:
    found = verify(image, {"input": calib.batch(0, 8)}, model=MODEL)
    assert found.ok, found.first_diverging


def test_loses_at_most_a_point_and_a_half_to_quantization(image: Image) -> None:
    labelled = Batches(load_data(DATA / "test.npz", role="test"), 32)
    in_float = accuracy(float_session(image), labelled)
    assert in_float == pytest.approx(0.917, abs=0.001)
    assert accuracy(Session(image), labelled) >= in_float - 0.015
