"""Lessons are what the float network gives, worked out once for every sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import helper

from pimc.api import compile as compile_model
from pimc.data.dataset import Dataset
from pimc.passes.recover.twin import lessons as module
from pimc.passes.recover.twin.lessons import lessons
from pimc.passes.recover.twin.student import Run, Student
from pimc.runtime.feeds import tensors
from tests.passes.recover.students import CHIP, model_of, normal, student_of

CHOSEN = [np.array(places) for places in ([5, 0, 3, 7], [1, 6, 2, 4], [7, 1, 0, 2], [3, 3, 6])]


def counted(student: Student, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many samples the float network was run for, batch by batch."""
    asked: list[int] = []
    teach = Student.teach

    def noted(self: Student, feed: dict[str, torch.Tensor]) -> Run:
        asked.append(len(next(iter(feed.values()))))
        return teach(self, feed)

    monkeypatch.setattr(Student, "teach", noted)
    return asked


def same(found: Run, wanted: Run) -> None:
    for ours, theirs in zip(found[0], wanted[0], strict=True):
        torch.testing.assert_close(ours, theirs)
    assert found[1].keys() == wanted[1].keys()
    for call, value in wanted[1].items():
        torch.testing.assert_close(found[1][call], value)


def check(student: Student, x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lessons of some batches against the float network; the batches it was run for."""
    data, asked = Dataset.of(x), counted(student, monkeypatch)
    wanted = [student.teach(tensors(data.subset(chosen).all_inputs())) for chosen in CHOSEN]
    asked.clear()
    with lessons(student, data) as taught:
        for chosen, run in zip(CHOSEN, wanted, strict=True):
            same(taught.teach(tensors(data.subset(chosen).all_inputs()), chosen), run)
    return asked


def test_every_sample_is_worked_out_once(tiny_image, tiny_inputs, monkeypatch) -> None:
    asked = check(student_of(tiny_image), tiny_inputs[:8], monkeypatch)
    assert asked == [2, 1, 1, 4, 4]  # two samples together and alone, then all of them


def test_what_takes_too_much_room_is_worked_out_again(tiny_image, tiny_inputs, monkeypatch) -> None:
    monkeypatch.setattr(module, "_MOST", 1000)
    assert check(student_of(tiny_image), tiny_inputs[:8], monkeypatch)[3:] == [4, 4, 4, 3]


def network(turned: bool) -> Student:
    """Layers that get four vectors a sample, its own together or those of a position together."""
    order = [1, 0, 2] if turned else [0, 1, 2]
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=order),
        helper.make_node("Reshape", ["t", "flat"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["h"]),
        helper.make_node("Reshape", ["h", "four" if not turned else "back"], ["b"]),
        helper.make_node("Transpose", ["b"], ["s"], perm=order),
        helper.make_node("ReduceMean", ["s"], ["y"], axes=[1], keepdims=0),
    ]
    weights = {
        "w": normal(6, 5),
        "flat": np.array([-1, 6]),
        "four": np.array([-1, 4, 5]),
        "back": np.array([4, -1, 5]),
    }
    model = model_of(nodes, weights, ["N", 4, 6], ["N", 5])
    return student_of(compile_model(model, CHIP, calib=normal(8, 4, 6, seed=2)))


@pytest.mark.parametrize(("turned", "asked"), [(False, [4, 4]), (True, [4, 4, 4, 3])])
def test_values_that_are_not_of_one_sample_after_the_other_are_worked_out_again(
    turned: bool, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(network(turned), normal(8, 4, 6, seed=3), monkeypatch)[3:] == asked


def full(*_: object) -> None:
    raise OSError("no space left on device")


def test_a_full_disk_costs_time_alone(tiny_image, tiny_inputs, monkeypatch) -> None:
    student, data = student_of(tiny_image), Dataset.of(tiny_inputs[:8])
    feed, chosen = tensors(data.all_inputs()), np.arange(8)
    with lessons(student, data) as taught:
        monkeypatch.setattr(module, "_rows", full)
        same(taught.teach(feed, chosen), student.teach(feed))
        same(taught.teach(feed, chosen), student.teach(feed))
