"""Samples of different lengths: filled up behind their values, and masked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pimc.data import rows
from pimc.data.inputs import Input
from pimc.data.kinds.sequences import KeptItems, Sequences, filled, mask_of, padded
from pimc.errors import DataError

FLOAT = np.dtype(np.float32)
FRAMES = Input("frames", (None, None, 2), FLOAT)
MASK = Input("mask", (None, None), np.dtype(bool))


def items(*lengths: int) -> KeptItems:
    return KeptItems.of([np.full((n, 2), n, np.float32) for n in lengths])


def made(*lengths: int, inputs: Any = (FRAMES, MASK), **how: Any) -> dict[str, Any]:
    found = padded({"frames": items(*lengths)}, inputs, Sequences(**how), "here")
    return {name: np.asarray(value[:]) for name, value in found.items()}


def test_values_are_followed_by_nothing_and_the_mask_says_so() -> None:
    found = made(1, 3)
    assert found["frames"].tolist() == [[[1, 1], [0, 0], [0, 0]], [[3, 3]] * 3]
    assert found["mask"].tolist() == [[1, 0, 0], [1, 1, 1]]
    found = made(1, 3, length=2, pad=-1, mask_marks="padding")
    assert found["frames"].tolist() == [[[1, 1], [-1, -1]], [[3, 3]] * 2]
    assert found["mask"].tolist() == [[0, 1], [0, 0]]


def test_the_network_says_the_length_and_nothing_is_cut_unasked() -> None:
    fixed = (Input("frames", (None, 4, 2), FLOAT), MASK)
    assert made(1, 3, inputs=fixed)["frames"].shape == (2, 4, 2)
    assert made(1, 6, inputs=fixed)["frames"].shape == (2, 6, 2)
    assert made(1, 6, inputs=fixed, length=4)["frames"].shape == (2, 4, 2)


def test_a_mask_that_is_given_stays_what_it_is() -> None:
    given = {"frames": items(1, 3), "mask": KeptItems.of([np.array([1]), np.array([1, 0, 1])])}
    found = padded(given, (FRAMES, MASK), Sequences(), "here")
    assert found["mask"][:].tolist() == [[1, 0, 0], [1, 0, 1]]


def test_without_a_mask_something_must_say_what_to_add() -> None:
    with pytest.raises(DataError, match="frames is 1 to 3 long, is to be 3, and no input"):
        made(1, 3, inputs=(FRAMES,))
    assert made(1, 3, inputs=(FRAMES,), pad=7)["frames"][0].tolist() == [[1, 1], [7, 7], [7, 7]]
    assert made(3, 5, inputs=(FRAMES,), length=2)["frames"].shape == (2, 2, 2)
    assert made(3, 3, inputs=(FRAMES,))["frames"].shape == (2, 3, 2)


def test_inputs_of_one_sample_have_one_length() -> None:
    two = {"frames": items(1, 3), "others": items(2, 3)}
    inputs = (FRAMES, Input("others", (None, None, 2), FLOAT), MASK)
    with pytest.raises(DataError, match="others is 2 long in sample 0, another input 1"):
        padded(two, inputs, Sequences(), "here")
    wide = {"frames": KeptItems.of([np.ones((2, 2)), np.ones((2, 3))])}
    with pytest.raises(
        DataError, match=r"frames has shape \(2, 3\) in sample 1, \(2, 2\) in sample 0"
    ):
        padded(wide, (FRAMES, MASK), Sequences(), "here")


@pytest.mark.parametrize("lengths", [(1, 3), (3, 3)])
def test_the_mask_is_of_what_is_filled_up(lengths: tuple[int, int]) -> None:
    """Beside a sequence stands an input of four values a sample, whatever its length."""
    other = Input("other", (None, 4), FLOAT)
    given = {"other": KeptItems.of([np.zeros(4, np.float32)] * 2), "frames": items(*lengths)}
    found = padded(given, (other, FRAMES, MASK), Sequences(), "here")
    wanted = np.arange(3) < np.array(lengths)[:, None]
    assert np.array_equal(found["mask"][:], wanted)


def test_which_input_is_the_mask() -> None:
    def named(*names: str, **how: Any) -> str | None:
        inputs = [Input(name, (None, None), FLOAT) for name in names]
        return mask_of(inputs, Sequences(**how), "here")

    assert named("x", "attention_mask", "other_mask") == "attention_mask"
    assert named("x", "src_key_padding_mask") == "src_key_padding_mask"
    assert named("x", "first_mask", "second_mask") is None
    assert named("x", "there", "attention_mask", mask="there") == "there"
    with pytest.raises(DataError, match="the network has no input there"):
        named("x", mask="there")


def test_a_type_that_does_not_hold_the_filling_is_refused_where_it_is_needed() -> None:
    whole = KeptItems.of([np.array([1, 2], np.uint8), np.array([3], np.uint8)])
    with pytest.raises(DataError, match=r"pad: -1 is no uint8"):
        filled(whole, (2,), -1)
    assert filled(whole, (1,), -1)[:].tolist() == [[1], [3]]


def test_large_data_are_filled_up_when_they_are_asked_for(monkeypatch: Any) -> None:
    small = made(1, 3, 2)
    monkeypatch.setattr(rows, "HELD_BYTES", 8)
    found = padded({"frames": items(1, 3, 2)}, (FRAMES, MASK), Sequences(), "here")
    assert not isinstance(found["frames"], np.ndarray)
    assert not isinstance(found["mask"], np.ndarray)
    for name, values in small.items():
        np.testing.assert_array_equal(found[name][:], values)
        np.testing.assert_array_equal(found[name][np.array([2, 0])], values[[2, 0]])


@pytest.mark.parametrize(
    "how", [{"length": 0}, {"mask_marks": "both"}, {"pad": float("nan")}, {"pad": 1e20}]
)
def test_settings_that_cannot_be_are_refused(how: Any) -> None:
    with pytest.raises(DataError, match="sequences"):
        Sequences(**how)
