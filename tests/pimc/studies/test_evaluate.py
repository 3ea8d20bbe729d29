"""Accuracy and its confidence intervals, the float network, progress."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

import pimc
from pimc.api import Options, compile
from pimc.data.dataset import Dataset, load_data
from pimc.errors import DataError, ImageError, UsageError
from pimc.progress import silent, ticking, track
from pimc.runtime.session import NodeArg, Session
from pimc.runtime.teacher import has_teacher, teacher_array
from pimc.studies.evaluate import (
    Batches,
    accuracy,
    float_session,
    right,
)


def labelled(session, x: np.ndarray, wrong: int) -> Dataset:
    """Data whose labels are what the session says, but for the first ``wrong`` samples."""
    labels = session.run(None, {"x": x})[0].argmax(axis=1)
    labels[:wrong] = (labels[:wrong] + 1) % 4
    return Dataset.of(x, labels)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_accuracy_counts_right_answers_in_batches_of_any_size(
    tiny_image, tiny_inputs, batch_size
) -> None:
    session = Session(tiny_image)
    data = labelled(session, tiny_inputs, wrong=16)
    assert accuracy(session, data, batch_size) == (64 - 16) / 64
    assert right(session, data, batch_size).tolist() == [False] * 16 + [True] * 48


def test_accuracy_works_with_onnx_runtime_itself(tiny_model, tiny_inputs) -> None:
    session = ort.InferenceSession(tiny_model().SerializeToString())
    assert accuracy(session, labelled(session, tiny_inputs, 1)) == 63 / 64


def test_float_session_is_the_source_network(tiny_model, tiny_image, tiny_inputs) -> None:
    wanted = ort.InferenceSession(tiny_model().SerializeToString()).run(None, {"x": tiny_inputs})[0]
    session = float_session(tiny_image)
    (got,) = session.run(None, {"x": tiny_inputs})
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    assert [arg.name for arg in session.get_inputs()] == ["x"]


def test_float_accuracy_of_the_shipped_model(fashion, fashion_image) -> None:
    data = load_data(fashion, role="test").subset(np.arange(500))
    source = ort.InferenceSession(fashion / "resnet8.onnx")
    in_float = accuracy(float_session(fashion_image), data)
    assert in_float == accuracy(source, data)
    assert in_float > 0.9


def test_teacher_is_computed_in_the_type_asked_for_and_lets_gradients_pass(tiny_image) -> None:
    import torch

    from pimc.runtime.graph.executor import Executor

    array = teacher_array(tiny_image, dtype=torch.float64)
    executor = Executor(tiny_image.graph(), array=array, dtype=torch.float64)
    x = torch.zeros((1, 2, 8, 8), dtype=torch.float64, requires_grad=True)
    y = executor.run({"x": x + 1})["y"]
    y.sum().backward()
    assert y.dtype == torch.float64
    assert x.grad is not None
    assert x.grad.abs().max() > 0


def test_image_without_teacher_says_so(tiny_model, tiny_chip) -> None:
    image = compile(tiny_model(), tiny_chip, options=Options(teacher=False))
    assert not has_teacher(image)
    with pytest.raises(ImageError, match="no float weights"):
        float_session(image)


def test_data_without_labels_or_with_too_many_classes_is_refused(tiny_image, tiny_inputs) -> None:
    session = Session(tiny_image)
    with pytest.raises(DataError, match="no labels"):
        accuracy(session, Dataset.of(tiny_inputs))
    with pytest.raises(DataError, match="label 4 is beyond the network's 4 classes"):
        accuracy(session, Dataset.of(tiny_inputs, np.full(64, 4)))


def test_a_network_that_is_no_classifier_is_refused(tiny_inputs) -> None:
    class Shapes:
        def __init__(self, shape):
            self.shape = shape

        def get_inputs(self):
            return [NodeArg("x", ["N", 2, 8, 8], "tensor(float)")]

        def get_outputs(self):
            return [NodeArg("y", ["N", 4], "tensor(float)")]

        def run(self, names, feed):
            return [np.zeros(self.shape)]

    data = Dataset.of(tiny_inputs, np.zeros(64, int))
    for shape in ((64,), (64, 1), (3, 10)):
        with pytest.raises(UsageError, match="not \\(samples, classes\\)"):
            accuracy(Shapes(shape), data)


def test_inputs_are_prepared_once_for_all_dies(tiny_inputs, monkeypatch) -> None:
    calls: list[tuple[int, ...]] = []
    original = Dataset.batch

    def counted(self, *ends):
        calls.append(ends)
        return original(self, *ends)

    monkeypatch.setattr(Dataset, "batch", counted)
    stored = tiny_inputs.astype(np.float64)
    batches = Batches(Dataset.of(stored, np.zeros(64, int)), 30)
    first, second = list(batches), list(batches)
    assert calls == [(0, 30), (30, 60), (60, 90)]
    assert [len(feed["x"]) for feed, _ in first] == [30, 30, 4]
    assert [len(samples.targets["y"]) for _, samples in second] == [30, 30, 4]


def test_progress_passes_all_items_and_writes_to_stderr_only(capsys) -> None:
    assert list(track([1, 2, 3], "[not markup]")) == [1, 2, 3]
    assert list(silent(range(3), "none")) == [0, 1, 2]
    assert capsys.readouterr().out == ""


def test_ticking_reports_every_part_and_ends_when_work_fails() -> None:
    seen, closed = [], []

    def report(iterable, description, total=None):
        try:
            for item in iterable:
                seen.append((description, item, total))
                yield item
        finally:
            closed.append(True)

    with ticking(report, "arrays", 2) as tick:
        tick()
        tick()
    assert seen == [("arrays", 0, 2), ("arrays", 1, 2)]
    with pytest.raises(KeyboardInterrupt), ticking(report, "arrays", 5):
        raise KeyboardInterrupt
    assert closed == [True, True]


def test_names_of_the_package() -> None:
    assert pimc.compile is compile
    assert pimc.Session is Session
    assert set(pimc.__all__) <= set(dir(pimc))
    assert all(getattr(pimc, name) is not None for name in pimc.__all__)
    assert pimc.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pimc.nothing
