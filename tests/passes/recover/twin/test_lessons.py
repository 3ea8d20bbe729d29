"""Lessons are what the float network gives, worked out once for every sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import helper

from pimc.api import compile as compile_model
from pimc.data.dataset import Dataset
from pimc.passes.recover.twin import lessons as module
from pimc.passes.recover.twin.lessons import lessons
from pimc.passes.recover.twin.student import Run, Student
from pimc.plan.records import layer_of
from pimc.runtime.feeds import Feed, tensors
from tests.passes.recover.students import CHIP, model_of, normal, student_of

CHOSEN = [np.array(places) for places in ([5, 0, 3, 7], [1, 6, 2, 4], [7, 1, 0, 2], [3, 3, 6])]


def counted(student: Student, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many layers the float network computes, run by run."""
    asked: list[int] = []
    teach = Student.teach

    def noted(self: Student, feed: Feed, also: Sequence[str] = ()) -> Run:
        done: list[str] = []

        def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
            done.append(layer_of(node))
            return self.teacher(node, x)

        found = teach(replace(self, teacher=array), feed, also)
        asked.append(len(done))
        return found

    monkeypatch.setattr(Student, "teach", noted)
    return asked


def same(found: Run, wanted: Run) -> None:
    """Bit by bit, and in the same order."""
    for ours, theirs in zip(found[0], wanted[0], strict=True):
        assert torch.equal(ours, theirs)
    assert list(found[1]) == list(wanted[1])
    for call, value in wanted[1].items():
        assert torch.equal(found[1][call], value)


def check(student: Student, x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lessons of some batches against the float network; how many samples layers computed."""
    data, asked = Dataset.of(x), counted(student, monkeypatch)
    wanted = [student.teach(tensors(data.subset(chosen).all_inputs())) for chosen in CHOSEN]
    taught = lessons(student, data)
    asked.clear()
    for chosen, run in zip(CHOSEN, wanted, strict=True):
        same(taught.teach(tensors(data.subset(chosen).all_inputs()), chosen), run)
    return asked


def test_convolutions_are_worked_out_once_a_sample(tiny_image, tiny_inputs, monkeypatch) -> None:
    """The tiny network's; its last layer, a product of matrices, every time."""
    student = student_of(tiny_image)
    windows = [layer.window for layer in tiny_image.layers]
    count, products = len(windows), windows.count(None)
    assert 0 < products < count
    found = check(student, tiny_inputs[:8], monkeypatch)
    assert found == [count] * 2 + [products] * 2


def test_what_takes_too_much_room_is_worked_out_again(tiny_image, tiny_inputs, monkeypatch) -> None:
    monkeypatch.setattr(module, "_MOST", 1000)
    found = check(student_of(tiny_image), tiny_inputs[:8], monkeypatch)
    assert found == [len(tiny_image.layers)] * 4


def folded(turned: bool) -> Student:
    """A convolution of four images a sample: its own together, or the first ones of all."""
    order = [1, 0, 2, 3, 4] if turned else [0, 1, 2, 3, 4]
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=order),
        helper.make_node("Reshape", ["t", "flat"], ["f"]),
        helper.make_node("Conv", ["f", "w"], ["h"], kernel_shape=[3, 3]),
        helper.make_node("Reshape", ["h", "back" if turned else "four"], ["b"]),
        helper.make_node("Transpose", ["b"], ["s"], perm=[*order[:2], 2]),
        helper.make_node("ReduceMean", ["s"], ["y"], axes=[1], keepdims=0),
    ]
    weights = {
        "w": normal(5, 2, 3, 3),
        "flat": np.array([-1, 2, 3, 3]),
        "four": np.array([-1, 4, 5]),
        "back": np.array([4, -1, 5]),
    }
    model = model_of(nodes, weights, ["N", 4, 2, 3, 3], ["N", 5])
    return student_of(compile_model(model, CHIP, calib=normal(8, 4, 2, 3, 3, seed=2)))


@pytest.mark.parametrize("turned", [False, True])
def test_values_that_are_not_one_a_sample_are_worked_out_again(
    turned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(folded(turned), normal(8, 4, 2, 3, 3, seed=3), monkeypatch) == [1] * 4


def full(*_: object) -> None:
    raise OSError("no space left on device")


def test_a_full_disk_costs_time_alone(tiny_image, tiny_inputs, monkeypatch) -> None:
    student, data = student_of(tiny_image), Dataset.of(tiny_inputs[:8])
    feed, chosen = tensors(data.all_inputs()), np.arange(8)
    taught = lessons(student, data)
    monkeypatch.setattr(module, "_rows", full)
    same(taught.teach(feed, chosen), student.teach(feed))
    same(taught.teach(feed, chosen), student.teach(feed))
