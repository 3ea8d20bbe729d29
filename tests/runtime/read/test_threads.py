"""Torch computes on one thread while a network is read by threads of our own, and only then."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from pimc.runtime.read.threads import threads, torch_on_one


@pytest.fixture(autouse=True)
def three() -> Iterator[None]:
    """A number of threads that is none's default."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_a_read_may_take_as_many_threads_as_the_user_gave_torch() -> None:
    assert threads() == 3
    with torch_on_one():
        assert torch.get_num_threads() == 1
        assert threads() == 3
    assert torch.get_num_threads() == 3
    torch.set_num_threads(2)
    assert threads() == 2


def test_several_networks_at_once_give_the_threads_back_when_the_last_is_done() -> None:
    first, second = torch_on_one(), torch_on_one()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert (torch.get_num_threads(), threads()) == (1, 3)
    second.__exit__(None, None, None)
    assert (torch.get_num_threads(), threads()) == (3, 3)


def test_a_network_that_fails_gives_them_back_too() -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), torch_on_one():
            raise KeyboardInterrupt
        assert (torch.get_num_threads(), threads()) == (3, 3)
